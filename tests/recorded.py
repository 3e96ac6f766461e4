"""Serves the recorded answers of the real APIs, so that whole commands can run on them.

python -m tests.recorded           pulls and backfills them into a database of its own and prints what was stored
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg2

from db.embedded import EmbeddedServer
from model.settings import ROOT

RECORDED = ROOT.parent / "shared" / "recorded"
LLAMA, ARTEMIS, ERRORS = "defillama/", "artemis/", "errors/"
WETH = "ethereum:0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2"
GONE = "00000000-0000-4000-8000-000000000000"  # a pool that never was
POOLS = ("2d48131c-d3d7-472b-a916-bdc0776740ab", "3603d576-a4d7-4317-9ae1-bf451b3e637a")

# path of a request (for Artemis with its symbols), file of the answer, its status
ANSWERS: dict[str, tuple[str, int]] = {
    "/api/protocols": (LLAMA + "protocols@2022-09-13-72b0a9f.json", 200),
    "/api/protocol/anchor": (LLAMA + "protocol-anchor@2022-09-13-72b0a9f.json", 200),
    "/api/protocol/drift-trade": (LLAMA + "protocol-drift-trade@2025-12-18-af6b094.json", 200),
    "/api/protocol/everlend": (LLAMA + "protocol-everlend@2025-12-19-e89c2a5.json", 200),
    "/api/protocol/save": (LLAMA + "protocol-save@2025-12-19-e89c2a5.json", 200),
    "/api/protocol/raydium": (LLAMA + "protocol-raydium-parent@2026-07-22.json", 200),
    "/api/protocol/uniswap": (LLAMA + "protocol-uniswap-parent@2026-07-22.json", 200),
    "/api/tvl/raydium": (ERRORS + "llama-400-bad-parent.txt", 400),
    "/api/tvl/uniswap": (ERRORS + "llama-400-tvl-nan.txt", 400),
    "/api/protocol/gone": (ERRORS + "llama-400-protocol-not-found.txt", 400),
    "/api/overview/fees": (LLAMA + "overview-fees-dailyRevenue-TRIMMED@2025-01-05.json", 200),
    "/api/overview/fees/All": (LLAMA + "overview-fees-dailyRevenue-TRIMMED@2025-01-05.json", 200),
    "/api/overview/fees/foochain": (ERRORS + "llama-500-overview-unknown-chain.txt", 500),
    "/api/overview/derivatives": (LLAMA + "doc-overview-derivatives.json", 200),
    "/api/overview/options/Ethereum": (LLAMA + "doc-overview-options-chain.json", 200),
    "/api/summary/derivatives/hyperliquid": (LLAMA + "doc-summary-derivatives.json", 200),
    "/api/summary/fees/hyperliquid": (LLAMA + "doc-summary-fees.json", 200),
    "/api/summary/options/derive": (LLAMA + "doc-summary-options.json", 200),
    "/api/summary/fees/foo": (ERRORS + "llama-400-summary-unknown.txt", 400),
    "/stablecoins/stablecoins": (LLAMA + "stablecoins_withprices@2026-08-17.json", 200),
    "/stablecoins/stablecoinchains": (LLAMA + "stablecoinchains@2026-08-17.json", 200),
    "/stablecoins/stablecoincharts/all": (LLAMA + "stablecoincharts_all@2026-08-17.json", 200),
    "/stablecoins/stablecoincharts/Terra": (LLAMA + "stablecoincharts_Terra@2026-08-17.json", 200),
    "/stablecoins/stablecoincharts/Ethereum": (ERRORS + "stablecoins-404.txt", 404),
    "/stablecoins/stablecoincharts/foochain": (ERRORS + "stablecoins-404-nginx.html", 404),
    f"/coins/prices/current/{WETH},coingecko:ethereum": (LLAMA + "coins-chart-empty-searchwidth1.json", 200),
    f"/coins/chart/{WETH}": (LLAMA + "coins-chart-weth-5d.json", 200),
    "/coins/chart/coingecko:ethereum": (LLAMA + "coins-chart-multi.json", 200),
    "/yields/pools": (ERRORS + "yields-400-invalid-uuid.json", 400),
    f"/yields/chart/{POOLS[0]}": (LLAMA + "yields-chart-2d48131c@2025-10-06.json", 200),
    f"/yields/chart/{POOLS[1]}": (LLAMA + "yields-chart-3603d576@2025-10-06.json", 200),
    f"/yields/chart/{GONE}": (ERRORS + "yields-200-unknown-uuid.json", 200),
    "/data/api/ eq-nvda": (ARTEMIS + "doc-equity-valuation-eq-nvda.json", 200),
    "/data/api/ btc": (ARTEMIS + "mixed-list-and-sentinel.json", 200),
    "/data/api/ sol": (ARTEMIS + "observed-sol-stablecoin-transfer-volume.json", 200),
    "/data/api/ bitcoin": (ARTEMIS + "symbols-is-string.json", 200),
    "/data/api/ wrong": (ARTEMIS + "empty-200-wrong-path.json", 200),
}
LLAMA_CONFIG = f"""asset,kind,metrics,id
makerdao,protocol,MCAP,
giveth,protocol,MCAP,
anchor,protocol,TVL MCAP,
drift-trade,protocol,TVL,
everlend,protocol,TVL,
save,protocol,TVL,
raydium,protocol,TVL,parent#raydium
uniswap,protocol,TVL,parent#uniswap
gone,protocol,TVL,
curve-dex,protocol,REVENUE_24H,
bitcoin,protocol,REVENUE_24H,
hyperliquid,protocol,FEES PERPS_VOLUME,
derive,protocol,OPTIONS_PREMIUM_VOLUME,
foo,protocol,FEES,
all,chain,CHAIN_REVENUE,All
ethereum,chain,CHAIN_OPTIONS_PREMIUM_VOLUME CHAIN_STABLECOIN_SUPPLY,Ethereum
foochain,chain,CHAIN_FEES CHAIN_STABLECOIN_SUPPLY,
all-stablecoins,chain,CHAIN_STABLECOIN_SUPPLY,all
terra,chain,CHAIN_STABLECOIN_SUPPLY,Terra
usdt,stablecoin,STABLECOIN_PRICE,1
eurc,stablecoin,STABLECOIN_PRICE,50
weth,coin,PRICE,{WETH}
ethereum,coin,PRICE,coingecko:ethereum
pool-2d48131c,pool,APY POOL_TVL,{POOLS[0]}
pool-3603d576,pool,APY POOL_TVL,{POOLS[1]}
pool-gone,pool,APY,{GONE}
"""
ARTEMIS_CONFIGS = {  # a config for each recorded answer, as the real API would be asked
    "eq-nvda": "ENTERPRISE_VALUE_DIVIDE_TOTAL_REVENUE ENTERPRISE_VALUE_DIVIDE_NET_INCOME EARNINGS_YIELD FCF_YIELD",
    "btc": "PRICE MC",
    "sol": "STABLECOIN_TRANSFER_VOLUME",
    "bitcoin": "NET_ETF_FLOW",
    "wrong": "PRICE",
}


CHART = "/api/v2/chart/tvl/protocol/"
NEXT_DAY = {  # the answers of a day later, where there are any
    "/api/protocol/drift-trade": (LLAMA + "protocol-drift-trade@2025-12-19-e89c2a5.json", 200),
    "/stablecoins/stablecoincharts/all": (LLAMA + "stablecoincharts_all@2026-08-18.json", 200),
}


class _Handler(BaseHTTPRequestHandler):
    answers: Mapping[str, tuple[str, int]]

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path = "/" + url.path.split("/", 2)[2] if url.path.startswith("/KEY/") else url.path
        if path.startswith("/data/api/"):
            path = f"/data/api/ {parse_qs(url.query)['symbols'][0]}"
        chart = path.startswith(CHART)  # none is recorded: the history of the same protocol, as pairs
        file, status = self.answers.get(path.replace(CHART, "/api/protocol/"), ("", 404))
        body = (RECORDED / file).read_bytes() if file else b"not recorded"
        if chart and status == 200:
            rows = json.loads(body)["tvl"]
            body = json.dumps([[row["date"], row["totalLiquidityUSD"]] for row in rows]).encode()
        kind = {".json": "application/json", ".html": "text/html"}.get(Path(file).suffix, "text/plain")
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
        """Nothing: a test reads the commands' output."""


@contextmanager
def serve(answers: Mapping[str, tuple[str, int]] = ANSWERS) -> Iterator[dict[str, str]]:
    """A server of the recorded answers; the environment that points commands at it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"answers": answers}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield {
            "DEFILLAMA_BASE_URL": url, "DEFILLAMA_API_KEY": "KEY",
            "ARTEMIS_BASE_URL": url, "ARTEMIS_API_KEY": "KEY",
        }  # fmt: skip
    finally:
        server.shutdown()
        server.server_close()


def run_commands(environment: dict[str, str], directory: Path) -> list[subprocess.CompletedProcess[str]]:
    """Pull and backfill DefiLlama, and pull and backfill Artemis asset by asset, from the recorded answers."""
    configs = [("defillama", LLAMA_CONFIG)]
    configs += [("artemis", f"asset,metrics\n{symbol},{metrics}\n") for symbol, metrics in ARTEMIS_CONFIGS.items()]
    done = []
    for place, (source, text) in enumerate(configs):
        config = directory / f"{place}.csv"
        config.write_text(text, encoding="utf-8")
        start = [] if source == "defillama" else ["--start", "2024-01-01"]
        for verb, options in (("pull", []), ("backfill", start)):
            command = [sys.executable, "main.py", verb, source, "--config", str(config), *options]
            done.append(
                subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True)  # noqa: S603 (our own command)
            )
    return done


STORED = """
SELECT source, asset, metric_name, count(*), min(pulled_at)::date, max(pulled_at)::date,
    (array_agg(value ORDER BY pulled_at DESC))[1]
FROM metrics GROUP BY source, asset, metric_name ORDER BY source, metric_name, asset
"""


def main() -> None:
    """Print the commands' output and what was stored of each series."""
    with tempfile.TemporaryDirectory() as directory, serve() as environment:
        server = EmbeddedServer(Path(directory, "postgres"))
        for done in run_commands(environment | {"DATABASE_URL": server.dsn}, Path(directory)):
            print(done.stdout + done.stderr, end="")
        with closing(psycopg2.connect(server.dsn)) as session, session.cursor() as cursor:
            cursor.execute(STORED)
            for source, asset, metric, number, first, last, value in cursor.fetchall():
                print(f"{source:10} {asset:16} {metric:40} {number:5} {first} … {last} {value:,.6g}")
        server.release()


if __name__ == "__main__":
    main()

-- Statements of db/identities.py. Each returns or takes the columns of Identity, in its order.

-- name: identities
SELECT kind, asset, api_id, identity, title, other_identity, other_title FROM identities WHERE source = %(source)s

-- name: set_identities
INSERT INTO identities (source, kind, asset, api_id, identity, title, other_identity, other_title)
SELECT %(source)s, * FROM unnest(
    %(kinds)s::text[], %(assets)s::text[], %(api_ids)s::text[], %(identities)s::text[], %(titles)s::text[],
    %(other_identities)s::text[], %(other_titles)s::text[]
)
ON CONFLICT (source, kind, asset) DO UPDATE SET api_id = EXCLUDED.api_id, identity = EXCLUDED.identity,
    title = EXCLUDED.title, other_identity = EXCLUDED.other_identity, other_title = EXCLUDED.other_title

-- name: confirm
UPDATE identities SET identity = other_identity, title = other_title, other_identity = NULL, other_title = NULL
WHERE source = %(source)s AND asset = %(asset)s AND other_identity IS NOT NULL
RETURNING kind, asset, api_id, identity, title, other_identity, other_title

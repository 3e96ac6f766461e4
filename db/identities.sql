-- Statements of db/identities.py. Each returns or takes the columns of Identity, in its order.

-- name: identities
SELECT kind, asset, canonical_id, lasting_id, title, other_lasting_id, other_title
FROM identities WHERE source = %(source)s

-- name: set_identities
INSERT INTO identities (source, kind, asset, canonical_id, lasting_id, title, other_lasting_id, other_title)
SELECT %(source)s, * FROM unnest(
    %(kinds)s::text[], %(assets)s::text[], %(canonical_ids)s::text[], %(lasting_ids)s::text[], %(titles)s::text[],
    %(other_lasting_ids)s::text[], %(other_titles)s::text[]
)
ON CONFLICT (source, kind, asset, canonical_id) DO UPDATE SET lasting_id = EXCLUDED.lasting_id,
    title = EXCLUDED.title, other_lasting_id = EXCLUDED.other_lasting_id, other_title = EXCLUDED.other_title

-- name: confirm
UPDATE identities SET lasting_id = other_lasting_id, title = other_title, other_lasting_id = NULL, other_title = NULL
WHERE source = %(source)s AND asset = %(asset)s AND other_lasting_id IS NOT NULL
RETURNING kind, asset, canonical_id, lasting_id, title, other_lasting_id, other_title

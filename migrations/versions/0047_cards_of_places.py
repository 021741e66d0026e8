"""The unchanging part of a place's JSON with the place: a list is put together of texts instead of twenty columns

Adding the column rewrites the table, some 20 s for a million places, in which nobody reads it.

Revision ID: 0047
Revises: 0046
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0047"
down_revision: str | None = "0046"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

# Four lines, for neither JSON nor the text of `hours` has a line break: the fields before the position, those before
# the times of today, those after them, and the opening hours. Immutable: JSON of text and booleans hangs on no setting.
CARD = """
CREATE FUNCTION location.card(
    name text, source text, road_address text, lot_address text, store_category text, pickup_categories text[],
    phone text, place_url text, kakao_place_id text, dataset text, streams text[], residents_only boolean, hours jsonb
) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN concat(
        '"name":', to_json(name), ',"source":', to_json(source), ',"road_address":',
        coalesce(to_json(coalesce(nullif(road_address, ''), lot_address))::text, 'null'), chr(10),
        '"store_category":', to_json(store_category),
        ',"pickup_categories":', array_to_json(pickup_categories), chr(10),
        '"phone":', coalesce(to_json(phone)::text, 'null'),
        ',"place_url":', coalesce(to_json(place_url)::text, 'null'),
        ',"kakao_place_id":', coalesce(to_json(kakao_place_id)::text, 'null'),
        ',"dataset":', to_json(dataset), ',"streams":', array_to_json(streams),
        ',"residents_only":', to_json(residents_only), chr(10),
        hours::text
    );
END $$
"""


def upgrade() -> None:
    op.execute(CARD)
    op.execute(
        """ALTER TABLE location.places ADD COLUMN card text GENERATED ALWAYS AS (location.card(
            name, source, road_address, lot_address, store_category, pickup_categories,
            phone, place_url, kakao_place_id, dataset, streams, residents_only, hours
        )) STORED"""
    )


def downgrade() -> None:
    op.execute("ALTER TABLE location.places DROP COLUMN card")
    op.execute("DROP FUNCTION location.card")

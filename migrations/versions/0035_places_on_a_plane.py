"""Points of a plane and bits of tags for places: an index that holds both answers without the rows

PostGIS' own index of geography compares on the ellipsoid and has to look at each row; the index of points answers by
itself. Adding the columns rewrites the table, some 20 s for a million places, in which nobody reads it.

Revision ID: 0035
Revises: 0034
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0035"
down_revision: str | None = "0034"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

# A tag has one of 64 bits, by the hash that PostgreSQL keeps for ever (partitions by hash rest on it). Two tags may
# share one: who filters by bits looks at the tags, too. Regions are searched for by another index.
BITS = """
CREATE FUNCTION location.bits(tags text[]) RETURNS bigint LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    tag text;
    found bigint := 0;
BEGIN
    FOREACH tag IN ARRAY tags LOOP
        IF tag NOT LIKE 'in:%' THEN
            found := found | (1::bigint << (hashtextextended(tag, 0) & 63)::integer);
        END IF;
    END LOOP;
    RETURN found;
END $$
"""

# Mercator's projection of the WGS84 ellipsoid, in radians: near a point all directions have one scale, so what is
# nearer there is nearer on earth.
PLANE = """
point(
    radians(ST_X(geog::geometry)),
    asinh(tan(radians(ST_Y(geog::geometry))))
        - 0.0818191908426215 * atanh(0.0818191908426215 * sin(radians(ST_Y(geog::geometry))))
)
"""


def upgrade() -> None:
    op.execute(BITS)
    op.execute("DROP INDEX location.ix_places_geog")
    op.execute(
        f"""ALTER TABLE location.places
            ADD COLUMN plane point GENERATED ALWAYS AS ({PLANE}) STORED,
            ADD COLUMN bits bigint GENERATED ALWAYS AS (location.bits(tags)) STORED"""
    )
    op.execute(
        """CREATE INDEX ix_places_plane ON location.places USING gist (plane) INCLUDE (id, bits)
           WHERE retired_at IS NULL AND plane IS NOT NULL"""
    )


def downgrade() -> None:
    op.execute("DROP INDEX location.ix_places_plane")
    op.execute("ALTER TABLE location.places DROP COLUMN plane, DROP COLUMN bits")
    op.execute("DROP FUNCTION location.bits")
    op.execute(
        """CREATE INDEX ix_places_geog ON location.places USING gist (geog)
           WHERE retired_at IS NULL AND geog IS NOT NULL"""
    )

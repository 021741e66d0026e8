-- What needs a superuser once; runs again after every sync.
CREATE SCHEMA IF NOT EXISTS postgis;
GRANT USAGE ON SCHEMA postgis TO PUBLIC;
CREATE EXTENSION IF NOT EXISTS postgis SCHEMA postgis;
CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA postgis;
ALTER ROLE eco2 SET search_path = public, postgis;

-- Who may log in, and as whom. The same text runs on SQLite and on PostgreSQL: TEXT, BIGINT and
-- nothing else; times are microseconds since the Unix epoch, truth values are 0 and 1.

CREATE TABLE team (
    id         TEXT   NOT NULL PRIMARY KEY,
    name       TEXT   NOT NULL,
    suspended  BIGINT NOT NULL DEFAULT 0 CHECK (suspended IN (0, 1)),
    created_us BIGINT NOT NULL
);

-- One row for each username. `secret` says its own scheme ($argon2id$… or $blake3$…); NULL: known
-- to the policy, cannot log in.
CREATE TABLE principal (
    username   TEXT   NOT NULL PRIMARY KEY,
    kind       TEXT   NOT NULL CHECK (kind IN ('platform', 'instance', 'device', 'client')),
    team       TEXT   REFERENCES team (id) ON DELETE CASCADE,
    id         TEXT   NOT NULL,
    owner_type TEXT   CHECK (owner_type IN ('instance', 'application')),
    owner      TEXT,
    patterns   TEXT   NOT NULL DEFAULT '[]',
    secret     TEXT,
    created_us BIGINT NOT NULL,
    changed_us BIGINT NOT NULL,
    CHECK ((kind = 'platform') = (team IS NULL)),
    CHECK ((owner_type IS NULL) = (owner IS NULL))
);

-- An instance or device is in one team at a time; a client's name is its team's own.
CREATE UNIQUE INDEX principal_machine ON principal (kind, id) WHERE kind IN ('instance', 'device');
CREATE INDEX principal_team ON principal (team);

-- Counts the changes to the tables above. A broker that sees another number reads again what it
-- keeps in memory of them.
CREATE TABLE revision (
    one   BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    value BIGINT NOT NULL
);
INSERT INTO revision (one, value) VALUES (1, 0);

-- Records are linked: each is numbered within its chain (a team's, or `$platform`) and has a hash over
-- itself and its predecessor's hash. What was on record before this is linked at the first start.

ALTER TABLE audit RENAME TO audit_unlinked;
DROP INDEX audit_at;
DROP INDEX audit_team_at;

-- `position` is the order of all commits in this database. On PostgreSQL the table is made anew in
-- parts by month, before anything is in it.
CREATE TABLE audit (
    position  BIGINT NOT NULL,
    chain     TEXT   NOT NULL,
    number    BIGINT NOT NULL,
    hash      TEXT   NOT NULL,
    at_us     BIGINT NOT NULL,
    level     TEXT   NOT NULL CHECK (level IN ('platform', 'team')),
    team      TEXT,
    event     TEXT   NOT NULL,
    actor     TEXT,
    client_id TEXT,
    remote    TEXT,
    address   TEXT,
    listener  TEXT,
    detail    TEXT   NOT NULL,
    PRIMARY KEY (chain, number, at_us)
);

CREATE INDEX audit_place ON audit (position);
CREATE INDEX audit_at ON audit (at_us);
CREATE INDEX audit_event ON audit (event, position);
CREATE INDEX audit_actor ON audit (actor, position);
CREATE INDEX audit_client ON audit (client_id, position);
CREATE INDEX audit_address ON audit (address, position);

-- The last record of each chain; `signed` is the number that its last checkpoint is of.
CREATE TABLE audit_chain (
    chain  TEXT   NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL,
    hash   TEXT   NOT NULL,
    signed BIGINT NOT NULL DEFAULT 0
);

-- Counts the records of all chains. Every writer updates it first, so that writers come one by one.
CREATE TABLE audit_position (
    one   BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    value BIGINT NOT NULL
);
INSERT INTO audit_position (one, value) VALUES (1, 0);

-- How far each run of a broker has been taken out of its spool.
CREATE TABLE audit_run (
    run   BIGINT NOT NULL PRIMARY KEY,
    taken BIGINT NOT NULL
);

-- The head of a chain, signed: the last of each day (UTC).
CREATE TABLE audit_checkpoint (
    chain     TEXT   NOT NULL,
    day       BIGINT NOT NULL,
    number    BIGINT NOT NULL,
    hash      TEXT   NOT NULL,
    at_us     BIGINT NOT NULL,
    signer    TEXT   NOT NULL,
    signature TEXT   NOT NULL,
    PRIMARY KEY (chain, day)
);

-- Who may read one team's chain over the API: a token each, as a hash.
CREATE TABLE audit_reader (
    team       TEXT   NOT NULL REFERENCES team (id) ON DELETE CASCADE,
    name       TEXT   NOT NULL,
    token      TEXT   NOT NULL UNIQUE,
    created_us BIGINT NOT NULL,
    PRIMARY KEY (team, name)
);

-- What happened. `run` is drawn at random by each process that writes, `seq` counts within it: the
-- key is known before the row is sent, so that a batch whose commit was lost sight of may be sent
-- again. There is no foreign key: what a removed team did stays on record.

CREATE TABLE audit (
    run       BIGINT NOT NULL,
    seq       BIGINT NOT NULL,
    at_us     BIGINT NOT NULL,
    level     TEXT   NOT NULL CHECK (level IN ('platform', 'team')),
    team      TEXT,
    event     TEXT   NOT NULL,
    actor     TEXT,
    client_id TEXT,
    remote    TEXT,
    listener  TEXT,
    detail    TEXT   NOT NULL,
    PRIMARY KEY (run, seq)
);

CREATE INDEX audit_at ON audit (at_us);
CREATE INDEX audit_team_at ON audit (team, at_us);

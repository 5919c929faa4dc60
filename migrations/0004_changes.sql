-- Whom a running broker must judge anew: written within the transaction of the change, read by every
-- broker on this database, in order. `what` is the word that the audit has for it; without a
-- username the whole team is concerned.
CREATE TABLE change (
    revision BIGINT NOT NULL,
    seq      BIGINT NOT NULL,
    what     TEXT   NOT NULL,
    team     TEXT,
    username TEXT,
    at_us    BIGINT NOT NULL,
    PRIMARY KEY (revision, seq)
);

-- Old rows are deleted. A broker that had not read them by then knows it from this number: rows of
-- revisions up to it are gone.
ALTER TABLE revision ADD COLUMN pruned BIGINT NOT NULL DEFAULT 0;

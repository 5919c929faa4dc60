-- What proofs by SCRAM-SHA-256 are checked against, sealed ($scram$<key id>$…); NULL: such logins
-- are refused, whatever `secret` says. A password that was stored before this has none until it is
-- set again.
ALTER TABLE principal ADD COLUMN scram TEXT;

-- What a team may have and do: a plan of the configuration by its name (NULL: the default), and what
-- is changed of it for this team alone, in the configuration's keys.
ALTER TABLE team ADD COLUMN plan TEXT;
ALTER TABLE team ADD COLUMN limits TEXT NOT NULL DEFAULT '';

-- readable from: 0001
-- A release from before this fills none of these: its attempts cost nothing that is known, and whatever
-- it runs goes to the job's own provider.

-- Of a job that was begun: where its next attempt goes, when that is elsewhere, what the rules for
-- trying again remember (JSON), and the sums over its attempts.
ALTER TABLE job ADD COLUMN target_provider TEXT;
ALTER TABLE job ADD COLUMN target_model TEXT;
ALTER TABLE job ADD COLUMN progress TEXT;
ALTER TABLE job ADD COLUMN input_tokens INTEGER;
ALTER TABLE job ADD COLUMN output_tokens INTEGER;
ALTER TABLE job ADD COLUMN cost_usd_nanos INTEGER;

ALTER TABLE attempt ADD COLUMN input_tokens INTEGER;
ALTER TABLE attempt ADD COLUMN output_tokens INTEGER;
ALTER TABLE attempt ADD COLUMN cost_usd_nanos INTEGER;

-- readable from: 0001
-- A release from before this fills none of these: its attempts cost nothing that is known, and whatever
-- it runs goes to the job's own provider.

-- Of a job that was begun: where its next attempt goes, when that is elsewhere, what the rules for
-- trying again remember (JSON), and the sums over its attempts. In no index, so that they can change
-- within a page. First `job`, then `attempt`: in the order in which statements of gateways that run
-- meanwhile lock them.
ALTER TABLE hermod.job
    ADD COLUMN target_provider text COLLATE "C",
    ADD COLUMN target_model text,
    ADD COLUMN progress text,
    ADD COLUMN input_tokens bigint,
    ADD COLUMN output_tokens bigint,
    ADD COLUMN cost_usd_nanos bigint;

ALTER TABLE hermod.attempt
    ADD COLUMN input_tokens bigint,
    ADD COLUMN output_tokens bigint,
    ADD COLUMN cost_usd_nanos bigint;

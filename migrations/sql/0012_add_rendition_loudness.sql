-- +goose Up

-- How loud a rendition is, measured once when it is stored (docs/loudness.md), for
-- whoever joins it. Null: it is from before, and keeps its level and its silence.
alter table renditions
    add column lufs real,   -- integrated, BS.1770-4
    add column rms real,    -- dB of full scale, as are the two that follow
    add column true_peak real,
    add column lead_samples int check (lead_samples >= 0), -- silence before the first sound
    add column tail_samples int check (tail_samples >= 0), -- and after the last
    add constraint renditions_loudness_check check (num_nulls(lufs, rms, true_peak, lead_samples, tail_samples) in (0, 5));

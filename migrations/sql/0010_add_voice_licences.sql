-- +goose Up

-- Under which licence a voice is, and who made it: shown with the voice and put into
-- every manifest of audio that it spoke.
alter table voices add column licence text not null default '', add column attribution text not null default '';

// Package migrations holds the numbered SQL that builds the schema, and nothing
// else: platform/pg applies it under a lock. Migrations go forward only and are
// safe while the previous version of the services still runs.
package migrations

import "embed"

// FS holds the migrations as sql/NNNN_verb_noun.sql, in goose's format.
//
//go:embed sql/*.sql
var FS embed.FS

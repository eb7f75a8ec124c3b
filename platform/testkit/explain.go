package testkit

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/platform/pg"
)

// Explained is how Postgres ran a statement.
type Explained struct {
	Scanned []string // tables that were read from end to end
	Pages   int      // of the database that were touched
	Text    string   // the plan
}

// node is a step of a plan.
type node struct {
	Kind  string `json:"Node Type"`
	Table string `json:"Relation Name"`
	Hit   int    `json:"Shared Hit Blocks"`
	Read  int    `json:"Shared Read Blocks"`
	Plans []node `json:"Plans"`
}

func (n *node) scanned() (tables []string) {
	if n.Kind == "Seq Scan" {
		tables = append(tables, n.Table)
	}
	for i := range n.Plans {
		tables = append(tables, n.Plans[i].scanned()...)
	}
	return tables
}

// Explain runs a statement with arguments as EXECUTE takes them and takes back
// what it did. mode is a value of plan_cache_mode.
func Explain(tb testing.TB, db *pg.Pool, mode, sql, args string) Explained {
	tb.Helper()
	tx, err := db.Begin(tb.Context())
	if err != nil {
		tb.Fatalf("begin: %v", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(tb.Context())) }()
	for _, s := range []string{`set local plan_cache_mode = ` + mode, `deallocate all`, `prepare hot as ` + sql} {
		if _, err := tx.Exec(tb.Context(), s, pgx.QueryExecModeSimpleProtocol); err != nil {
			tb.Fatalf("%s: %v", s, err)
		}
	}
	var raw []byte
	run := fmt.Sprintf(`explain (analyze, buffers, timing off, format json) execute hot (%s)`, args)
	if err := tx.QueryRow(tb.Context(), run, pgx.QueryExecModeSimpleProtocol).Scan(&raw); err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
	var list []struct{ Plan node }
	if err := json.Unmarshal(raw, &list); err != nil || len(list) != 1 {
		tb.Fatalf("read the plan %s: %v", raw, err)
	}
	n := &list[0].Plan
	return Explained{Scanned: n.scanned(), Pages: n.Hit + n.Read, Text: string(raw)}
}

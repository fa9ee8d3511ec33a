package store_test

import (
	"database/sql"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"perch/internal/testdb"
)

// bounded are the statements that may walk through a table, for they say
// themselves how far; or because nobody waits for them, and no writer.
var bounded = []string{
	`DELETE FROM sessions WHERE id IN (SELECT id FROM sessions ORDER BY created_at LIMIT $1)`,
	`SELECT COUNT(*) FROM sessions`,
}

// A statement that walks through a whole table costs nothing with ten rows,
// and everything with a million.
func TestEveryStatementFindsItsRowsByAnIndex(t *testing.T) {
	_, url := open(t)
	db := testdb.Open(t, url)
	db.SetMaxOpenConns(1) // the settings are a connection's
	explain := explainSQLite
	if testdb.Postgres() {
		explain = explainPostgres
	}
	all := statements(t, "accounts.go", "sessions.go")
	if len(all) < 15 {
		t.Fatalf("found %d statements: those are not all", len(all))
	}
	all = append(all, // what ON DELETE CASCADE looks for, which no plan shows
		`DELETE FROM sessions WHERE account_id = $1`,
		`DELETE FROM avatars WHERE account_id = $1`)
	for _, statement := range all {
		if plan, walks := explain(t, db, statement); walks && !slices.Contains(bounded, statement) {
			t.Errorf("%s\nwalks through a table:\n%s", statement, plan)
		}
	}
}

// statements returns the SQL in the files.
func statements(t *testing.T, files ...string) (all []string) {
	t.Helper()
	verb := regexp.MustCompile(`^(SELECT|INSERT|UPDATE|DELETE) `)
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				text, err := strconv.Unquote(literal.Value)
				if text = strings.Join(strings.Fields(text), " "); err == nil && verb.MatchString(text) {
					all = append(all, text)
				}
			}
			return true
		})
	}
	return all
}

// nulls are as many arguments as the statement takes.
func nulls(statement string) []any {
	n := 0
	for n < 20 && strings.Contains(statement, fmt.Sprint("$", n+1)) {
		n++
	}
	return make([]any, n)
}

func explainSQLite(t *testing.T, db *sql.DB, statement string) (plan string, walks bool) {
	t.Helper()
	rows, err := db.Query(`EXPLAIN QUERY PLAN `+statement, nulls(statement)...)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		plan += step + "\n"
		walks = walks || strings.HasPrefix(step, "SCAN ")
	}
	return plan, walks
}

// explainPostgres asks for the plan for any arguments, in which tables are
// walked through only where no index would do.
func explainPostgres(t *testing.T, db *sql.DB, statement string) (plan string, walks bool) {
	t.Helper()
	run := func(statement string) {
		if _, err := db.Exec(statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	run(`SET enable_seqscan = off`)
	run(`SET plan_cache_mode = force_generic_plan`)
	run(`PREPARE explained AS ` + statement)
	defer run(`DEALLOCATE explained`)
	call := `EXPLAIN EXECUTE explained`
	if n := len(nulls(statement)); n > 0 {
		call += `(NULL` + strings.Repeat(`, NULL`, n-1) + `)`
	}
	rows, err := db.Query(call)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	defer rows.Close()
	var scans, byKey int
	for rows.Next() {
		var step string
		if err := rows.Scan(&step); err != nil {
			t.Fatal(err)
		}
		plan += step + "\n"
		walks = walks || strings.Contains(step, "Seq Scan")
		if regexp.MustCompile(`Index (Only )?Scan`).MatchString(step) {
			scans++
		}
		if strings.Contains(step, "Index Cond:") {
			byKey++
		}
	}
	return plan, walks || scans > byKey
}

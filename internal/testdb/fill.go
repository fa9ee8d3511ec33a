package testdb

import (
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// What is in this file is for programs, too, that measure: it returns errors.

// Schema makes an empty schema at a PostgreSQL server. It returns the URL of
// that, and what drops it.
func Schema(server string) (link string, drop func() error, err error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", nil, errors.New("the URL of the database cannot be read")
	}
	schema := "perch_test_" + strings.ToLower(rand.Text())
	if err := exec(server, `CREATE SCHEMA `+schema); err != nil {
		return "", nil, err
	}
	query := u.Query()
	query.Set("search_path", schema)
	u.RawQuery = query.Encode()
	return u.String(), func() error { return exec(server, `DROP SCHEMA `+schema+` CASCADE`) }, nil
}

// Filled is the i-th session that Fill makes: the id in its cookie, and the
// hash of that, which is its row's.
func Filled(i int) (id, hash [sha256.Size]byte) {
	id = sha256.Sum256([]byte(strconv.Itoa(i)))
	return id, sha256.Sum256(id[:])
}

// Fill puts n sessions into a database that has its tables, all in one
// transaction. The i-th belongs to an account of its own at the provider, whose
// ID is i, and looks as if signed in at(i) and not used since. All names are as
// long as one another.
func Fill(link, provider string, n int, at func(i int) time.Time) error {
	db, err := connect(link)
	if err != nil {
		return err
	}
	defer db.Close()
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	const rows = 500 // a statement
	for first := 0; first < n; first += rows {
		if err := fill(tx, first, min(first+rows, n), provider, at); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	settle := `ANALYZE` // which PostgreSQL does by itself, a minute later
	if strings.HasPrefix(link, "sqlite:") {
		settle = `PRAGMA wal_checkpoint(TRUNCATE)`
	}
	_, err = db.Exec(settle)
	return err
}

// What real rows hold, as long as it is there.
const (
	tokenSize = 160 // an access token and its secret, sealed
	userAgent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
)

func fill(tx *sql.Tx, first, last int, provider string, at func(int) time.Time) error {
	var accounts, sessions strings.Builder
	var ids []any
	for i := first; i < last; i++ {
		at := at(i).Unix()
		fmt.Fprintf(&accounts, `,(%d,$1,'filled %07d','filled_%07d',$2,%d,%d)`, i, i, i, at, at)
		_, hash := Filled(i)
		ids = append(ids, hash[:])
		fmt.Fprintf(&sessions, `,($%d,%d,%d,%d,'%s')`, len(ids), i, at, at, userAgent)
	}
	if _, err := tx.Exec(`INSERT INTO accounts (id, provider, user_id, screen_name, token, created_at, signed_in_at) VALUES `+accounts.String()[1:], provider, make([]byte, tokenSize)); err != nil {
		return err
	}
	_, err := tx.Exec(`INSERT INTO sessions (id, account_id, created_at, seen_at, user_agent) VALUES `+sessions.String()[1:], ids...)
	return err
}

// Size returns how many bytes a database takes, with its indexes.
func Size(link string) (bytes int64, err error) {
	db, err := connect(link)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	size := `SELECT SUM(pg_total_relation_size(oid)) FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'`
	if strings.HasPrefix(link, "sqlite:") {
		size = `SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size`
	}
	err = db.QueryRow(size).Scan(&bytes)
	return bytes, err
}

func exec(link, statements string) error {
	db, err := connect(link)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.Exec(statements)
	return err
}

// connect opens a database behind everybody's back.
func connect(link string) (*sql.DB, error) {
	if path, ok := strings.CutPrefix(link, "sqlite:"); ok {
		return sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)&_txlock=immediate")
	}
	return sql.Open("pgx", link)
}

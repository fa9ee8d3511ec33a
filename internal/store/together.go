package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"
)

// maxTogether is how many changes share one transaction at the most, so that
// the first of them does not wait long for the last.
const maxTogether = 64

// A together makes SQLite's changes: in the order they come, and those that
// wait in one transaction, so that they share the wait for the disk. Each
// counts by itself all the same: one that is refused leaves the others alone,
// and none is acknowledged before all that came of it is on the disk.
type together struct {
	db      *sql.DB
	keeper  *sql.DB
	file    *file
	cache   *cache
	waiting chan *waiting
	closing context.Context
	stop    context.CancelFunc
	stopped chan struct{}

	// Of work alone: whether the log holds something that was deleted and is to
	// leave it, and when that was last tried in vain.
	owed  bool
	tried time.Time
}

// waiting is a change that somebody waits for.
type waiting struct {
	ctx    context.Context
	what   *concern
	change change
	made   chan error // takes one
}

func newTogether(db, keeper *sql.DB, f *file, c *cache) *together {
	t := &together{db: db, keeper: keeper, file: f, cache: c, waiting: make(chan *waiting), stopped: make(chan struct{})}
	t.closing, t.stop = context.WithCancel(context.Background())
	go t.work()
	return t
}

// close lets the change under way finish, and makes no more.
func (t *together) close() {
	t.stop()
	<-t.stopped
}

var errClosed = errors.New("the database is closed")

func (t *together) make(ctx context.Context, what *concern, _ bool, change change) error {
	w := &waiting{ctx, what, change, make(chan error, 1)}
	select {
	case t.waiting <- w:
	case <-t.closing.Done():
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-w.made:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *together) work() {
	defer close(t.stopped)
	for {
		select {
		case first := <-t.waiting:
			t.serve(first)
		case <-t.closing.Done():
			return
		}
	}
}

// serve makes a change, and those that wait by the time it is its turn.
func (t *together) serve(first *waiting) {
	// Not of the first visitor alone: they may leave, and a statement that is
	// broken off takes the transaction with it. To wait for another process may
	// take patience (busy_timeout), and so may the rest.
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	tx, err := t.begin(ctx)
	if err != nil {
		first.made <- err
		return
	}
	defer tx.Rollback()
	before := t.cache.now() // nobody else can change the file from here on
	rows, err := rowsChanged(ctx, tx)
	if err != nil {
		first.made <- err
		return
	}
	var made []*waiting
	refused := false
	for n, next := 1, first; next != nil; n, next = n+1, t.next(n) {
		err := t.alone(ctx, tx, next)
		if errors.Is(err, errBroken) { // the transaction is, and with it what was made before
			for _, w := range append(made, next) {
				w.made <- err
			}
			return
		}
		if err != nil {
			refused = true
			next.made <- err
			continue
		}
		made = append(made, next)
	}
	now, err := rowsChanged(ctx, tx)
	wrote := err == nil && now != rows && !refused // what was refused counts as changed, and was not
	err = tx.Commit()
	if err == nil {
		t.cache.changed(before, wrote, made)
		t.tidy(made)
	}
	for _, w := range made {
		w.made <- err
	}
}

// tidy overwrites what the log holds of what was deleted, when a change has
// asked for that. Somebody who reads for long is in the way, and all changes
// wait meanwhile; so it gives up after 250 ms, and tries again at a change that
// comes a second later or more.
func (t *together) tidy(made []*waiting) {
	t.owed = t.owed || slices.ContainsFunc(made, func(w *waiting) bool { return w.what.erase })
	if !t.owed || time.Since(t.tried) < time.Second {
		return
	}
	var busy, pages, moved int
	err := t.keeper.QueryRow(`PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &pages, &moved)
	if t.owed = err != nil || busy != 0; t.owed {
		t.tried = time.Now()
	}
}

// rowsChanged counts the rows that the connection has ever changed.
func rowsChanged(ctx context.Context, tx *sql.Tx) (n int64, err error) {
	err = tx.QueryRowContext(ctx, `SELECT total_changes()`).Scan(&n)
	return n, err
}

func (t *together) begin(ctx context.Context) (*sql.Tx, error) {
	if err := t.file.present(); err != nil {
		return nil, err
	}
	return t.db.BeginTx(ctx, nil)
}

// next returns who waits, if anybody does and there is room beside n.
func (t *together) next(n int) *waiting {
	if n >= maxTogether {
		return nil
	}
	select {
	case w := <-t.waiting:
		return w
	default:
		return nil
	}
}

// errBroken says that a transaction cannot go on: the disk is full, or gone.
var errBroken = errors.New("the transaction is broken")

// alone makes one change within the transaction, or leaves it as it was. When
// it can do neither, the error is errBroken.
func (t *together) alone(ctx context.Context, tx *sql.Tx, w *waiting) error {
	if err := w.ctx.Err(); err != nil {
		return err // nobody waits for it any more
	}
	if _, err := tx.ExecContext(ctx, `SAVEPOINT change`); err != nil {
		return errors.Join(errBroken, err)
	}
	err := calmly(func() error { return w.change(ctx, tx) })
	if err != nil {
		if _, endErr := tx.ExecContext(ctx, `ROLLBACK TO change`); endErr != nil {
			return errors.Join(errBroken, err, endErr)
		}
	}
	if _, endErr := tx.ExecContext(ctx, `RELEASE change`); endErr != nil {
		return errors.Join(errBroken, err, endErr)
	}
	return err
}

// calmly turns a panic into an error: it is not for one visitor's change to
// end the process.
func calmly(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return do()
}

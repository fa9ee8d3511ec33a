package store

import (
	"encoding/binary"
	"os"
	"slices"
	"sync"
	"sync/atomic"
)

// maxCached is how many sessions are kept, of less than a kilobyte each.
const maxCached = 16384

// A cache keeps sessions that were read from a SQLite file, and is exact: it
// knows them as long as nobody has changed the file since, in this process or
// another. A nil cache knows nothing.
type cache struct {
	file   *os.File
	index  []byte
	closed atomic.Bool

	mu   sync.RWMutex
	at   mark // of the file, when rows were as they are
	rows map[string]Session
	of   map[int64][]string // the ids of an account's
}

// newCache returns the cache for a database that is open, and nil where its
// file cannot be watched.
func newCache(path string) *cache {
	file, index := mapIndex(path + "-shm")
	if file == nil {
		return nil
	}
	return &cache{file: file, index: index, rows: map[string]Session{}, of: map[int64][]string{}}
}

// close is for when the database is closed: from then on nothing is known.
func (c *cache) close() error {
	if c == nil {
		return nil
	}
	c.closed.Store(true)
	return c.file.Close()
}

// A mark is the header of SQLite's WAL-index, in memory that all processes
// share. It changes with every transaction, before that is acknowledged
// (https://www.sqlite.org/walformat.html#the_wal_index_header).
type mark [48]byte

// now returns the mark of the file as it is; the zero mark, which fits
// nothing, when it cannot be told.
func (c *cache) now() (m mark) {
	if c != nil && !c.closed.Load() {
		copy(m[:], c.index)
	}
	return m
}

// number counts the transactions.
func (m mark) number() uint32 { return binary.NativeEndian.Uint32(m[8:]) }

// next tells whether there was exactly one transaction since the mark. Salts
// are drawn anew when the log begins anew, after a crash too.
func (m mark) next(after mark) bool {
	return slices.Equal(m[32:40], after[32:40]) && m.number() > 1 && after.number()-m.number() == 1
}

// get returns a session that is known.
func (c *cache) get(id []byte) (Session, bool) {
	now := c.now()
	if now == (mark{}) {
		return Session{}, false
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if now != c.at {
		return Session{}, false
	}
	found, ok := c.rows[string(id)]
	return found, ok
}

// put keeps a session that was read after the mark was taken, unless the file
// has changed meanwhile.
func (c *cache) put(read mark, found Session) {
	if read == (mark{}) || c.now() != read {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at != read {
		c.forget()
		c.at = read
	}
	for id := range c.rows { // any of them
		if len(c.rows) < maxCached {
			break
		}
		c.drop(id)
	}
	id, account := string(found.ID), found.Account.ID
	if _, known := c.rows[id]; !known {
		c.of[account] = append(c.of[account], id)
	}
	c.rows[id] = found
}

// drop forgets one session.
func (c *cache) drop(id string) {
	account := c.rows[id].Account.ID
	delete(c.rows, id)
	c.of[account] = slices.DeleteFunc(c.of[account], func(other string) bool { return other == id })
	if len(c.of[account]) == 0 {
		delete(c.of, account)
	}
}

// A concern says which sessions a change may have touched: one, those of an
// account, or both; all when it says nothing.
type concern struct {
	session []byte
	account int64
}

// changed forgets the sessions that changes of ours concern, which were made
// in one transaction. The mark was taken before it; wrote says that there was
// something to write, so that the transaction is one that SQLite counts. When
// somebody else has changed the file in between, what is kept fits no mark any
// more, and so is of no use.
func (c *cache) changed(before mark, wrote bool, made []*waiting) {
	if c == nil {
		return
	}
	after := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at != before || after != before && !(wrote && before.next(after)) {
		return
	}
	for _, w := range made {
		if w.what.session == nil && w.what.account == 0 {
			c.forget()
		}
		c.drop(string(w.what.session))
		for _, id := range slices.Clone(c.of[w.what.account]) {
			c.drop(id)
		}
	}
	c.at = after
}

func (c *cache) forget() {
	clear(c.rows)
	clear(c.of)
}

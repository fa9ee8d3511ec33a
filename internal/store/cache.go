package store

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unique"
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
	rows map[string]packed
	of   map[int64][]string // the ids of an account's
}

// newCache returns the cache for a database that is open, and nil where its
// file cannot be watched.
func newCache(path string) *cache {
	path, err := filepath.EvalSymlinks(path) // as SQLite does, which keeps the index beside the file itself
	if err != nil {
		return nil
	}
	file, index := mapIndex(path + "-shm")
	if file == nil {
		return nil
	}
	return &cache{file: file, index: index, rows: map[string]packed{}, of: map[int64][]string{}}
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
	if !ok {
		return Session{}, false
	}
	return found.session(id), true
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
	id, row := pack(found)
	if _, known := c.rows[id]; !known {
		c.of[row.account] = append(c.of[row.account], id)
	}
	c.rows[id] = row
}

// drop forgets one session.
func (c *cache) drop(id string) {
	account := c.rows[id].account
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
	erase   bool // what it deletes is to leave SQLite's log, too
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

// A packed is a session in few pieces of memory, for the garbage collector
// looks at each of them.
type packed struct {
	texts               string // the user id, the screen name, the name and the avatar's, one after the other
	lengths             [4]uint32
	provider, userAgent unique.Handle[string] // which many have in common
	token               []byte
	account             int64
	created, seen       int64 // Unix time, of the session; those that follow, of the account
	first, last, asked  int64
}

// pack returns a session's id and the rest of it, which share a piece.
func pack(s Session) (id string, p packed) {
	a := s.Account
	all := string(s.ID) + a.UserID + a.ScreenName + a.Name + a.Avatar
	return all[:len(s.ID)], packed{
		texts:    all[len(s.ID):],
		lengths:  [4]uint32{uint32(len(a.UserID)), uint32(len(a.ScreenName)), uint32(len(a.Name)), uint32(len(a.Avatar))},
		provider: unique.Make(a.Provider), userAgent: unique.Make(s.UserAgent), token: a.Token, account: a.ID,
		created: s.CreatedAt.Unix(), seen: s.SeenAt.Unix(), first: a.CreatedAt.Unix(), last: a.SignedInAt.Unix(), asked: a.ProfileAt.Unix(),
	}
}

func (p packed) session(id []byte) Session {
	var texts [4]string
	rest := p.texts
	for i, length := range p.lengths {
		texts[i], rest = rest[:length], rest[length:]
	}
	return Session{
		ID: id, UserAgent: p.userAgent.Value(), CreatedAt: time.Unix(p.created, 0), SeenAt: time.Unix(p.seen, 0),
		Account: Account{
			ID: p.account, Provider: p.provider.Value(), UserID: texts[0], ScreenName: texts[1], Name: texts[2], Avatar: texts[3], Token: p.token,
			CreatedAt: time.Unix(p.first, 0), SignedInAt: time.Unix(p.last, 0), ProfileAt: time.Unix(p.asked, 0),
		},
	}
}

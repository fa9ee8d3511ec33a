//go:build unix

package store

import (
	"os"
	"syscall"
)

// mapIndex maps the beginning of SQLite's WAL-index. The file stays open as
// long as the database: to close any of its descriptors would drop all locks
// that this process has on it, SQLite's own (POSIX), and the next process to
// come would take the database for one that nobody uses. The memory stays
// mapped for good: it is one page, and somebody may be looking.
func mapIndex(path string) (*os.File, []byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	index, err := syscall.Mmap(int(file.Fd()), 0, len(mark{}), syscall.PROT_READ, syscall.MAP_SHARED)
	return file, index, err
}

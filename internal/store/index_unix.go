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
// mapped for good: it is one page, and somebody may be looking. The file is nil
// when there is none, and the index when it cannot be mapped: the file is to be
// kept all the same.
func mapIndex(path string) (file *os.File, index []byte) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil
	}
	index, err = syscall.Mmap(int(file.Fd()), 0, len(mark{}), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return file, nil
	}
	return file, index
}

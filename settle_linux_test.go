package main

import (
	"bytes"
	"os"
	"syscall"
	"testing"
)

// A linker may have the program changed in memory before it starts, and what
// was changed is read-only from then on (-buildmode=pie).
func TestWhatIsInNoFileIsKept(t *testing.T) {
	program, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	page, err := syscall.Mmap(int(program.Fd()), 0, os.Getpagesize(), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(page)
	copy(page, "relocated")
	if err := syscall.Mprotect(page, syscall.PROT_READ); err != nil {
		t.Fatal(err)
	}
	settle()
	if !bytes.HasPrefix(page, []byte("relocated")) {
		t.Errorf("the page begins with %q", page[:9])
	}
}

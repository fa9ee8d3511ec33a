package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestWhatOnlyTheStartNeededIsGivenBack(t *testing.T) {
	before := filePages(t)
	settle()
	if after := filePages(t); after > before*3/4 {
		t.Errorf("%d kB of files were in memory, and %d afterwards", before, after)
	}
}

// filePages returns how much of this process's memory is a file's, in kB.
func filePages(t *testing.T) (kilobytes int) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "RssFile:")
	if _, err := fmt.Sscan(rest, &kilobytes); err != nil {
		t.Fatal(err)
	}
	return kilobytes
}

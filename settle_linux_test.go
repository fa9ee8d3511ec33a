package main

import (
	"testing"

	"github.com/prometheus/procfs"
)

func TestWhatOnlyTheStartNeededIsGivenBack(t *testing.T) {
	before := filePages(t)
	settle()
	if after := filePages(t); after > before*3/4 {
		t.Errorf("%d bytes of the program's file were in memory, and %d afterwards", before, after)
	}
}

func filePages(t *testing.T) uint64 {
	self, err := procfs.Self()
	if err != nil {
		t.Fatal(err)
	}
	status, err := self.NewStatus()
	if err != nil {
		t.Fatal(err)
	}
	return status.RssFile
}

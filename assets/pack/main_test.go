package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
)

// What is packed is what the sources give today. Compressed bytes may differ
// from one release of a compressor to the next; what they hold may not.
func TestWhatIsPackedIsOfToday(t *testing.T) {
	today := t.TempDir()
	if err := pack("..", today); err != nil {
		t.Fatal(err)
	}
	before := "../packed"
	names, err := os.ReadDir(today)
	if err != nil {
		t.Fatal(err)
	}
	if kept, err := os.ReadDir(before); err != nil || len(kept) != len(names) || len(names) < 10 {
		t.Errorf("%d files are packed, error %v; today there are %d", len(kept), err, len(names))
	}
	for _, name := range names {
		if want, got := unpacked(t, today, name.Name()), unpacked(t, before, name.Name()); got != want {
			t.Errorf("%s is not of today: run 'go tool task generate'", name.Name())
		}
	}
}

// unpacked returns what a file holds, by the ending of its name.
func unpacked(t *testing.T, dir, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	var r io.Reader = bytes.NewReader(content)
	switch {
	case strings.HasSuffix(name, ".br"):
		r = brotli.NewReader(r)
	case strings.HasSuffix(name, ".gz"):
		if r, err = gzip.NewReader(r); err != nil {
			t.Fatal(err)
		}
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

func TestCommentsAndSpacesStayBehind(t *testing.T) {
	for _, test := range []struct{ name, source, want string }{
		{"a.css", "/* why */\na { color: red; }\n", "a{color:red}"},
		{"a.js", "// why\nlet a = 1;\n", "let a=1"},
		{"a.min.js", "// licence\nlet a = 1;\n", "// licence\nlet a = 1;\n"},
		{"a.svg", "<svg> </svg>\n", "<svg> </svg>\n"},
	} {
		if got, err := minified(test.name, []byte(test.source)); err != nil || string(got) != test.want {
			t.Errorf("%s: got %q, error %v, want %q", test.name, got, err, test.want)
		}
	}
	if _, err := minified("a.js", []byte("let let = ;")); err == nil {
		t.Error("a script with a mistake is packed")
	}
}

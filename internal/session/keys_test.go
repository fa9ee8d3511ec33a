package session_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"perch/internal/session"
)

func TestKeyFileIsMadeOnceAndPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "secret.key")
	first, err := session.KeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(first) < 32 {
		t.Errorf("the key has %d bytes, want at least 32", len(first))
	}
	again, err := session.KeyFile(path)
	if err != nil || !bytes.Equal(first, again) {
		t.Errorf("the second time: another key, or %v", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode %o, want 600", got)
	}
	if files, err := os.ReadDir(filepath.Dir(path)); len(files) != 1 || err != nil {
		t.Errorf("beside it there are %v, %v", files, err)
	}
}

func TestADamagedKeyFileIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret.key")
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := session.KeyFile(path)
	if err == nil || !strings.Contains(err.Error(), "damaged") || strings.Contains(err.Error(), "short") {
		t.Errorf("got %v, want it to say damaged, without the content", err)
	}
	if content, _ := os.ReadFile(path); string(content) != "short" {
		t.Errorf("the file now holds %q", content)
	}
}

package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestTheQuickStartsAreTheCodeThatRuns(t *testing.T) {
	t.Parallel()
	page := text(t, "../../docs/sandbox.md")
	_, page, _ = strings.Cut(page, "\n## Quick start\n")
	page, _, _ = strings.Cut(page, "\n## ")
	file := map[string]string{"go": "go/main.go", "python": "python.py", "js": "node.mjs", "ruby": "ruby.rb", "php": "php.php"}
	found := map[string]bool{}
	for _, block := range regexp.MustCompile("(?s)```([a-z]+)\n(.*?)```").FindAllStringSubmatch(page, -1) {
		language, rest := block[1], text(t, file[block[1]])
		found[language] = true
		for line := range strings.Lines(block[2]) {
			_, after, ok := strings.Cut(rest, line)
			if !ok {
				t.Errorf("%s does not hold this line of the page, or not in this order: %s", file[language], line)
				break
			}
			rest = after
		}
	}
	if len(found) != len(file) {
		t.Errorf("the page has quick starts for %v, not for all of %v", found, file)
	}
}

func text(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

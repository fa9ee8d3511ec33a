package e2e

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// ours says which of our packages each of our packages may know. One that is
// not here has no place in the design.
var ours = map[string][]string{
	".":                {"assets", "views", "routes", "internal/config", "internal/store", "internal/session", "internal/twitter", "sandbox", "internal/metrics"},
	"routes":           {"views", "assets", "internal/session", "internal/twitter", "internal/metrics"},
	"views":            {"assets"},
	"assets":           {"assets/htmx"},
	"assets/htmx":      nil,
	"assets/pack":      nil, // a program of its own, run when a stylesheet or a script has changed
	"internal/config":  nil,
	"internal/store":   nil,
	"internal/session": {"internal/store", "internal/twitter"},
	"internal/twitter": nil,
	"sandbox":          {"assets/htmx"},
	"sandbox/clients":  {"sandbox"},
	"internal/metrics": nil,
	"internal/testdb":  nil,
	"internal/e2e":     nil,
	"internal/bench":   {"internal/store", "internal/testdb"}, // a program of its own, which measures the other
}

// theirs says who alone may know a library: packages, or single files.
var theirs = map[string][]string{
	"github.com/labstack/echo":               {"routes", "internal/bench"},
	"github.com/gorilla":                     {"internal/session"},
	"database/sql":                           {"internal/store", "internal/testdb"},
	"modernc.org/sqlite":                     {"internal/store", "internal/testdb"},
	"github.com/jackc/pgx":                   {"internal/store", "internal/testdb"},
	"github.com/pressly/goose":               {"internal/store"},
	"github.com/dghubble/gologin":            {"internal/twitter", "routes/signin.go"},
	"github.com/dghubble/oauth1":             {"internal/twitter"},
	"github.com/spf13/cobra":                 {"main.go", "commands.go", "sandbox.go", "sessions.go"},
	"github.com/spf13/pflag":                 {"internal/config", "commands.go"},
	"github.com/joho/godotenv":               {"main.go"},
	"github.com/andybalholm/brotli":          {"assets/pack"},
	"github.com/tdewolff/minify":             {"assets/pack"},
	"github.com/mileusna/useragent":          {"routes"},
	"github.com/prometheus":                  {"internal/metrics"},
	"net/http/pprof":                         {"internal/metrics"}, // it is on http.DefaultServeMux as well, which nobody serves
	"perch/sandbox":                          {"main.go", "sandbox.go", "sandbox/clients"},
	"github.com/chromedp":                    {},
	"github.com/PuerkitoBio":                 {},
	"perch/internal/testdb":                  {"internal/bench"}, // and tests
	"golang.org/x/sys":                       {"door_linux.go", "internal/bench"},
	"testing":                                {"internal/testdb"},
	"net/http/httptest":                      {},
	"github.com/dghubble/gologin/v2/twitter": {}, // it asks a host that is gone
}

func TestEveryPackageKnowsOnlyWhatTheDesignAllows(t *testing.T) {
	for file, imports := range imports(t) {
		dir := path.Dir(file)
		allowed, known := ours[dir]
		if !known {
			t.Errorf("%s: the design has no package %s", file, dir)
		}
		for _, imported := range imports {
			own, isOurs := strings.CutPrefix(imported, "perch/")
			if isOurs && !slices.Contains(allowed, own) {
				t.Errorf("%s imports %s; %s may import of ours only %q", file, imported, dir, allowed)
			}
			for library, users := range theirs {
				if within(imported, library) && !slices.Contains(users, dir) && !slices.Contains(users, file) {
					t.Errorf("%s imports %s; that is for %q alone", file, imported, users)
				}
			}
		}
	}
}

// imports returns what each Go file imports. Tests are not asked: they may
// know more.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && name != root && (strings.HasPrefix(entry.Name(), ".") || isModule(name)) {
			return filepath.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		short, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		found[filepath.ToSlash(short)] = []string{}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			found[filepath.ToSlash(short)] = append(found[filepath.ToSlash(short)], imported)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < len(ours) {
		t.Fatalf("found %d Go files in %s: that is not the checkout", len(found), root)
	}
	return found
}

// isModule tells whether a folder is a module of its own, whose design is not
// ours.
func isModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

// within tells whether a package belongs to a library: it is the library's
// path, or below it.
func within(imported, library string) bool {
	return imported == library || strings.HasPrefix(imported, library+"/")
}

func TestTheTreeIsTheDesigns(t *testing.T) {
	for _, name := range []string{
		"main.go", "server.go", "doctor.go", "sandbox.go", "sessions.go", "go.mod", "go.sum", "Taskfile.yml", "README.md", ".env.example", ".gitignore", ".gitattributes", ".ci/run",
		"views/layout.templ", "views/header.templ", "views/home.templ", "views/account.templ", "views/problem.templ", "views/popup.templ", "views/privacy.templ",
		"routes/routes.go", "routes/pages.go", "routes/signin.go", "routes/account.go", "routes/problems.go",
		"assets/app.css", "assets/app.js", "assets/pack", "assets/packed/SHA256SUMS", "assets/htmx/htmx.min.js",
		"internal/config", "internal/store", "internal/session", "internal/twitter", "sandbox", "internal/metrics", "internal/e2e",
	} {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Error(err)
		}
	}
}

package e2e

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"perch/internal/config"
)

// What operators copy is read here by the programs that will read it there.

func TestNginxTakesItsConfiguration(t *testing.T) {
	t.Parallel()
	conf, _ := nginxConf(t, nil)
	consult(t, "nginx-light", t.TempDir(), "nginx", "-t", "-e", "stderr", "-c", conf)
}

// nginxConf adapts deploy/nginx.conf to the test, further than operators have
// to, and returns the path of the copy and where it listens for TLS.
func nginxConf(t *testing.T, more map[string]string) (conf, listen string) {
	t.Helper()
	dir := t.TempDir()
	cert, key := certificate(t, dir)
	var folders strings.Builder // nginx makes all of them, used or not
	for _, what := range []string{"client_body", "proxy", "fastcgi", "scgi", "uwsgi"} {
		folders.WriteString("\n    " + what + "_temp_path " + filepath.Join(dir, what) + ";")
	}
	listen = "127.0.0.1:" + freePort(t)
	replace := map[string]string{
		"/etc/letsencrypt/live/your.site/fullchain.pem": cert,
		"/etc/letsencrypt/live/your.site/privkey.pem":   key,
		"/run/nginx.pid": filepath.Join(dir, "nginx.pid"),
		"/var/log/nginx": dir,
		"listen 443 ":    "listen " + listen + " ",
		"listen 80 ":     "listen 127.0.0.1:" + freePort(t) + " ",
		"listen [::]":    "# [::]", // not every machine has IPv6
		"\nhttp {":       "\nhttp {" + folders.String(),
	}
	maps.Copy(replace, more)
	return adapt(t, "deploy/nginx.conf", dir, replace), listen
}

func TestCaddyTakesItsConfiguration(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := certificate(t, dir)
	conf := adapt(t, "deploy/Caddyfile", dir, map[string]string{"\nyour.site {": "\nyour.site {\n\ttls " + cert + " " + key})
	consult(t, "caddy", dir, "caddy", "validate", "--adapter", "caddyfile", "--config", conf)
}

func TestSystemdTakesTheUnit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	unit := adapt(t, "deploy/perch.service", dir, map[string]string{"/usr/local/bin/perch": program})
	if said := consult(t, "systemd", dir, "systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit); said != "" {
		t.Errorf("systemd-analyze says %s", said)
	}
	consult(t, "systemd", dir, "systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=15", unit) // exposed 1.5 of 10 at the most
}

func TestTheImageIsBuiltLikeTheProgram(t *testing.T) {
	t.Parallel()
	dockerfile, taskfile := text(t, "deploy/Dockerfile"), text(t, "Taskfile.yml")
	flags := regexp.MustCompile(`go build (.+) -o \S+ \.`)
	image, task := flags.FindStringSubmatch(dockerfile), flags.FindStringSubmatch(taskfile)
	if image == nil || task == nil || image[1] != task[1] {
		t.Errorf("the image is built with %q, the program with %q", image, task)
	}
	if !strings.Contains(dockerfile, "CGO_ENABLED=0") || !strings.Contains(taskfile, "CGO_ENABLED: 0") {
		t.Error("one of the two is not built without cgo, and so not static")
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(text(t, "go.mod"))
	if !strings.Contains(dockerfile, "FROM golang:"+version[1]+" AS build\n") {
		t.Errorf("the image is not built with Go %s, as go.mod says", version[1])
	}
}

func TestOperatorsReadOfSettingsThatExist(t *testing.T) {
	t.Parallel()
	known := []string{"NAME", "CGO_ENABLED", "SQLITE_TMPDIR", "AF_INET", "AF_UNIX"} // of others
	for field := range reflect.TypeFor[config.Settings]().Fields() {
		known = append(known, field.Tag.Get("env"))
	}
	name := regexp.MustCompile(`\b[A-Z]+(_[A-Z]+)+\b|\b[A-Z][A-Z_]*=`)
	for _, file := range []string{"deploy/perch.service", "deploy/Dockerfile", "deploy/nginx.conf", "deploy/Caddyfile", "README.md"} {
		for _, found := range name.FindAllString(text(t, file), -1) {
			found = strings.TrimSuffix(found, "=")
			if !slices.Contains(known, found) {
				t.Errorf("%s speaks of %s, which is no setting", file, found)
			}
		}
	}
}

// A document that says "this is tested there" is held to it.
func TestTheDocumentsNameTestsThatExist(t *testing.T) {
	t.Parallel()
	var tests strings.Builder
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, "_test.go") {
			content, err := os.ReadFile(path)
			tests.Write(content)
			return err
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	documents, err := filepath.Glob(filepath.Join(root, "docs/*.md"))
	if err != nil || len(documents) == 0 {
		t.Fatalf("no documents: %v", err)
	}
	code := regexp.MustCompile("(?s)```.*?```") // which may be somebody else's
	for _, document := range documents {
		content, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`\b(Test|Fuzz|Benchmark)[A-Z]\w+`).FindAllString(code.ReplaceAllString(string(content), ""), -1) {
			if !strings.Contains(tests.String(), "\nfunc "+name+"(") {
				t.Errorf("%s names %s, which is nowhere", filepath.Base(document), name)
			}
		}
	}
}

func text(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// adapt copies a file into dir with every old text replaced by its new one,
// and returns the copy's path. A text that is not there fails the test: it is
// one that operators are told to change.
func adapt(t *testing.T, name, dir string, replace map[string]string) string {
	t.Helper()
	content := text(t, name)
	for old, new := range replace {
		if !strings.Contains(content, old) {
			t.Errorf("%s does not hold %q", name, old)
		}
		content = strings.ReplaceAll(content, old, new)
	}
	path := filepath.Join(dir, filepath.Base(name))
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// consult returns what a program of the operator's prints, and fails the test when
// it says no. dir is its home.
func consult(t *testing.T, debianPackage, dir, name string, args ...string) string {
	t.Helper()
	command := exec.Command(lookPath(name), args...)
	command.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	said, err := command.CombinedOutput()
	if errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("This test needs %s. Please install it (on Debian and Ubuntu: apt-get install %s) and try again.", name, debianPackage)
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, said)
	}
	return string(said)
}

// lookPath finds a program, also where not everybody's PATH leads.
func lookPath(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	return filepath.Join("/usr/sbin", name)
}

// certificate puts a certificate and its key into dir.
func certificate(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	pair := server.TLS.Certificates[0]
	private, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

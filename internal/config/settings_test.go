package config_test

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"perch/internal/config"
)

// parse fills settings as main does, and returns what --help shows of them.
func parse(t *testing.T, environment map[string]string, args ...string) (config.Settings, string) {
	t.Helper()
	for _, name := range variables() {
		t.Setenv(name, environment[name])
	}
	var s config.Settings
	flags := s.Flags()
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return s, flags.FlagUsages()
}

// variables are the names of all settings, in order.
func variables() (names []string) {
	for field := range reflect.TypeFor[config.Settings]().Fields() {
		names = append(names, field.Tag.Get("env"))
	}
	return names
}

func TestEverySettingIsAFlagAndAVariable(t *testing.T) {
	environment := map[string]string{}
	var args []string
	for _, name := range variables() {
		environment[name] = "-" + name
		args = append(args, "--"+strings.ReplaceAll(strings.ToLower(name), "_", "-")+"=-"+name)
	}

	if got, _ := parse(t, nil); got != (config.Settings{}) {
		t.Errorf("got %+v from nothing, want nothing", got)
	}
	fromEnvironment, _ := parse(t, environment)
	fromFlags, _ := parse(t, nil, args...)
	for i, name := range variables() {
		if got := reflect.ValueOf(fromEnvironment).Field(i).String(); got != environment[name] {
			t.Errorf("got %q from the variable %s, want %q", got, name, environment[name])
		}
		if got := reflect.ValueOf(fromFlags).Field(i).String(); got != environment[name] {
			t.Errorf("got %q from the flag of %s, want %q", got, name, environment[name])
		}
	}
}

func TestHelpNamesEveryVariableAndShowsNoValue(t *testing.T) {
	environment := map[string]string{}
	for _, name := range variables() {
		environment[name] = "hunter2"
	}

	_, help := parse(t, environment)
	for _, name := range variables() {
		if !strings.Contains(help, "($"+name+")") {
			t.Errorf("--help lacks %s", name)
		}
	}
	if strings.Contains(help, "hunter2") {
		t.Errorf("--help shows a value:\n%s", help)
	}
}

// .env.example names every setting once, and its values are the defaults: with
// every line that has one in force, nothing changes.
func TestExample(t *testing.T) {
	example, err := os.ReadFile("../../.env.example")
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for _, line := range regexp.MustCompile(`(?m)^#([A-Z_]+)=(.*)$`).FindAllStringSubmatch(string(example), -1) {
		if _, twice := values[line[1]]; twice {
			t.Errorf(".env.example has %s twice", line[1])
		}
		values[line[1]] = line[2]
	}
	if len(values) != len(variables()) {
		t.Errorf("got %d variables in .env.example, want %d", len(values), len(variables()))
	}

	for field := range reflect.TypeFor[config.Settings]().Fields() {
		name, help := field.Tag.Get("env"), field.Tag.Get("help")
		value, ok := values[name]
		if !ok {
			t.Errorf(".env.example lacks %s", name)
		}
		if !strings.Contains(help, "default") || !strings.Contains(help, value) {
			t.Errorf("got the help %q for %s, want its default %q in it", help, name, value)
		}
	}

	values["TWITTER_CONSUMER_KEY"], values["TWITTER_CONSUMER_SECRET"] = "k", "s" // TWITTER_API_URL is refused without
	settings, _ := parse(t, values)
	got, err := settings.Check(nil)
	if err != nil {
		t.Fatal(err)
	}
	want, err := config.Settings{TwitterConsumerKey: "k", TwitterConsumerSecret: "s"}.Check(nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\ngot  %+v\nwant %+v", got, want)
	}
}

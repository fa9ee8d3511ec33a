package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"perch/internal/config"
)

// commands is what can be said on the command line. Perch alone serves.
func commands() *cobra.Command {
	s := new(config.Settings)
	perch := &cobra.Command{
		Use:           "perch",
		Long:          "Sign in with Twitter (X), done right. Every setting is a flag, a variable of the\nenvironment, or a line of the file .env.",
		Version:       version(),
		Args:          noArgs,
		RunE:          with(s, serve),
		SilenceErrors: true, // main prints them
		SilenceUsage:  true, // and nothing more
	}
	perch.PersistentFlags().SortFlags = false
	perch.PersistentFlags().AddFlagSet(s.Flags())
	perch.SetUsageFunc(usage)
	perch.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return unsaid(err) })
	perch.CompletionOptions.DisableDefaultCmd = true
	perch.SetHelpCommand(&cobra.Command{Hidden: true}) // there is --help

	sessions := &cobra.Command{
		Use:   "sessions",
		Short: "End sessions: perch sessions end.",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("perch sessions needs to know what to do: end")
		},
	}
	sessions.AddCommand(endCommand(s))
	perch.AddCommand(
		&cobra.Command{
			Use:   "serve",
			Short: "Serve the application (the default).",
			Long:  "Serve the application, with the sandbox beside it while no keys are set.",
			Args:  noArgs,
			RunE:  with(s, serve),
		},
		&cobra.Command{
			Use:   "doctor",
			Short: "Check the keys and the rest of the set-up.",
			Long:  "Check the keys with one call to X, and the rest of the set-up; say what is wrong\nand what to do. Exits with 1 when something is.",
			Args:  noArgs,
			RunE:  with(s, doctor),
		},
		sandboxCommand(s),
		sessions,
		&cobra.Command{
			Use:   "version",
			Short: "Show the version.",
			Args:  noArgs,
			RunE: func(*cobra.Command, []string) error {
				_, err := fmt.Println("perch version", version())
				return err
			},
		},
	)
	return perch
}

// unsaid is what is wrong with a flag, without what was given to it, which may
// be a secret.
func unsaid(err error) error {
	if invalid := new(pflag.InvalidValueError); errors.As(err, &invalid) {
		return fmt.Errorf("--%s takes no such value", invalid.GetFlag().Name)
	}
	text, _, _ := strings.Cut(err.Error(), "=")
	if before, _, ok := strings.Cut(text, " in -"); ok {
		text = before + ", a flag begins with --"
	}
	return errors.New(text)
}

// noArgs refuses what is no command. It repeats only a word that could be one:
// behind a flag that lacks its value the word may be a secret.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.Flags().NFlag() > 0 {
		return fmt.Errorf("unexpected argument for %q: see that every flag has a value", cmd.CommandPath())
	}
	return cobra.NoArgs(cmd, args)
}

// with makes a command of what needs the settings, checked.
func with(s *config.Settings, run func(context.Context, config.Config) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		c, err := s.Check(os.ReadFile)
		if err != nil {
			return err
		}
		return run(cmd.Context(), c)
	}
}

// knows is the annotation of a command that knows one setting and not all: its
// flag's name.
const knows = "knows"

// usage is the part of --help below the first sentence: cobra's own, but for
// lines that fit a terminal, and settings that stand apart.
func usage(cmd *cobra.Command) error {
	const columns = 80
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s\n", cmd.UseLine())
	if cmd.HasAvailableSubCommands() {
		fmt.Fprint(&b, "\nCommands:\n")
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(&b, "  %-10s %s\n", sub.Name(), sub.Short)
			}
		}
	}
	settings := cmd.Root().PersistentFlags()
	if one := settings.Lookup(cmd.Annotations[knows]); one != nil {
		settings = pflag.NewFlagSet("", pflag.ContinueOnError)
		settings.AddFlag(one)
	}
	fmt.Fprintf(&b, "\nFlags:\n%s\nSettings:\n%s", cmd.LocalNonPersistentFlags().FlagUsagesWrapped(columns), settings.FlagUsagesWrapped(columns))
	_, err := fmt.Fprint(cmd.OutOrStdout(), b.String())
	return err
}

func version() string {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return build.Main.Version + " " + build.GoVersion
}

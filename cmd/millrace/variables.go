package main

import (
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// variableInfo is what is told of an environment variable. All of it comes from the
// tags of the Configs' fields: env, envDefault, help, secret.
type variableInfo struct {
	name     string
	fallback string // what holds when it is not set
	help     string
	secret   bool
	commands []string // that read it
}

// configured names the commands that read the environment, each with its
// configuration.
func configured() []struct {
	command string
	config  any
} {
	return []struct {
		command string
		config  any
	}{
		{"worker", &workerConfig{}},
		{"gateway", &gatewayConfig{}},
		{"up", &upConfig{}},
		{"model", &predictConfig{}},
		{"model", &assignConfig{}},
		{"dlq", &dlqConfig{}},
		{"topics", &topicsConfig{}},
		{"load", &loadConfig{}},
	}
}

// allVariables lists every variable of every command once.
func allVariables() []variableInfo {
	var all []variableInfo
	for _, c := range configured() {
		for _, v := range variablesOf(c.config) {
			i := slices.IndexFunc(all, func(have variableInfo) bool { return have.name == v.name })
			if i < 0 {
				i, all = len(all), append(all, v)
			}
			all[i].commands = append(all[i].commands, c.command)
		}
	}
	return all
}

// variablesOf lists the variables of one configuration.
func variablesOf(cfg any) []variableInfo {
	var list []variableInfo
	for _, f := range fields(cfg) {
		if slices.ContainsFunc(list, func(v variableInfo) bool { return v.name == f.name }) {
			continue
		}
		v := variableInfo{name: f.name, fallback: f.Tag.Get("envDefault"), help: f.Tag.Get("help"), secret: f.Tag.Get("secret") == "true"}
		if f.Type.Kind() == reflect.Bool && v.fallback == "" {
			v.fallback = "false"
		}
		list = append(list, v)
	}
	return list
}

// environment is the part of a command's help that tells its variables.
func environment(cfg any) string {
	var b strings.Builder
	b.WriteString("Environment (an empty variable counts as not set):\n")
	for _, v := range variablesOf(cfg) {
		b.WriteString("  " + v.name)
		if v.fallback != "" {
			b.WriteString("=" + v.fallback)
		}
		b.WriteString("\n      " + v.help + "\n")
	}
	return strings.TrimRight(b.String(), "\n")
}

// writeMarkdown prints all variables as the README has them.
func writeMarkdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString("| variable | default | read by | meaning |\n|---|---|---|---|\n")
	for _, v := range allVariables() {
		fallback := ""
		if v.fallback != "" {
			fallback = "`" + v.fallback + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", v.name, fallback, strings.Join(v.commands, ", "), strings.ReplaceAll(v.help, "|", `\|`))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// effective is a configuration as the log shows it: each variable with the
// value that holds, secrets masked; with changed, those alone that were set to
// something other than their default.
func effective(cfg any, changed bool) []slog.Attr {
	var attrs []slog.Attr
	for _, f := range fields(cfg) {
		text := shown(f)
		known := slices.ContainsFunc(attrs, func(a slog.Attr) bool { return a.Key == f.name })
		if known || text == "" || changed && f.isDefault() {
			continue
		}
		attrs = append(attrs, slog.String(f.name, text))
	}
	return attrs
}

func (f field) isDefault() bool {
	unset := f
	unset.value = reflect.New(f.Type).Elem()
	return unset.parse("") == nil && reflect.DeepEqual(unset.value.Interface(), f.value.Interface())
}

const masked = "***"

func shown(f field) string {
	text := fmt.Sprint(f.value.Interface())
	if f.Type.Kind() == reflect.Slice {
		text = strings.Join(strings.Fields(strings.Trim(text, "[]")), ",")
	}
	if text != "" && f.Tag.Get("secret") == "true" {
		return masked
	}
	return maskURLs(text)
}

// maskURLs hides who is named in a URL, which may be a token alone.
func maskURLs(text string) string {
	return regexp.MustCompile(`://[^/?#\s]*@`).ReplaceAllString(text, "://"+masked+"@")
}

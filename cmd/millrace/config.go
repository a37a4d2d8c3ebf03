package main

import (
	"encoding"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

const envPrefix = "MILLRACE_"

// configError is a configuration that cannot be worked with: every mistake in
// it, a line each.
type configError struct{ mistakes []string }

func (c *configError) Error() string {
	return "the configuration is wrong:\n  " + strings.Join(c.mistakes, "\n  ")
}

// parse fills the struct that cfg points to from the injected environment. Its
// fields are Configs, with the tag envPrefix:"MILLRACE_" where their variables
// have it. The error lists all that is wrong: values that cannot be read, what
// each Config's Validate says, and variables with our prefix that no command
// knows. It exits with 2.
func (p *program) parse(cfg any) error {
	var mistakes []string
	for _, f := range fields(cfg) {
		if err := p.set(f); err != nil {
			mistakes = append(mistakes, fmt.Sprintf("%s: %v", f.name, err))
		}
	}
	for _, err := range validate(reflect.ValueOf(cfg).Elem()) {
		mistakes = append(mistakes, strings.Split(err.Error(), "\n")...)
	}
	mistakes = append(mistakes, p.unknown()...)
	if len(mistakes) == 0 {
		return nil
	}
	slices.Sort(mistakes)
	return usageError(&configError{slices.Compact(mistakes)})
}

// field is one variable's place in a configuration.
type field struct {
	name   string // the variable
	prefix string // of it
	value  reflect.Value
	reflect.StructField
}

// fields lists the variables of a configuration, in the order of its fields.
func fields(cfg any) []field { return fieldsOf(reflect.ValueOf(cfg).Elem(), "") }

func fieldsOf(v reflect.Value, prefix string) []field {
	var list []field
	for i := range v.NumField() {
		sf := v.Type().Field(i)
		name, _, _ := strings.Cut(sf.Tag.Get("env"), ",")
		switch {
		case name == "-":
		case name != "":
			list = append(list, field{prefix + name, prefix, v.Field(i), sf})
		case sf.Type.Kind() == reflect.Struct && (sf.IsExported() || sf.Anonymous):
			list = append(list, fieldsOf(v.Field(i), prefix+sf.Tag.Get("envPrefix"))...)
		}
	}
	return list
}

// set reads one variable. One that cannot be read is left at its default, so
// that nothing else is said to be wrong with it.
func (p *program) set(f field) error {
	text := p.env[f.name]
	if f.Type.Kind() == reflect.Slice { // "a, b" is what people write
		items := strings.Split(text, ",")
		for i := range items {
			items[i] = strings.TrimSpace(items[i])
		}
		text = strings.Join(items, ",")
	}
	if err := f.parse(text); err != nil {
		return errors.Join(unreadable(f, text, err), f.parse(""))
	}
	return nil
}

// parse reads the field by itself: of a whole struct the parser tells the field
// at fault, which means nothing to who sets a variable.
func (f field) parse(text string) error {
	single := reflect.New(reflect.StructOf([]reflect.StructField{{Name: f.Name, Type: f.Type, Tag: f.Tag}}))
	environ := map[string]string{}
	if text != "" {
		environ[f.name] = text
	}
	if err := env.ParseWithOptions(single.Interface(), env.Options{Environment: environ, Prefix: f.prefix}); err != nil {
		return err
	}
	f.value.Set(single.Elem().Field(0))
	return nil
}

// unreadable says what a variable should hold, in place of what Go's parsers
// say.
func unreadable(f field, text string, err error) error {
	parse := env.ParseError{}
	if !errors.As(err, &parse) {
		return err
	}
	var want string
	_, readsItself := reflect.TypeAssert[encoding.TextUnmarshaler](f.value.Addr())
	switch {
	case readsItself:
		return parse.Err
	case f.Type == reflect.TypeFor[time.Duration]():
		want = "a duration such as 500ms, 30s or 2m"
	case f.Type.Kind() == reflect.Bool:
		want = "true or false"
	case f.value.CanInt() && errors.Is(parse.Err, strconv.ErrRange):
		want = fmt.Sprintf("a whole number that %d bits hold", f.Type.Bits())
	case f.value.CanInt():
		want = "a whole number"
	default:
		return parse.Err
	}
	return fmt.Errorf("%q is not %s", text, want)
}

// validate asks every Config in v that has something to say. A struct's own
// Validate comes after those of its fields.
func validate(v reflect.Value) []error {
	var errs []error
	for i := range v.NumField() {
		sf := v.Type().Field(i)
		if sf.Type.Kind() == reflect.Struct && sf.Tag.Get("env") == "" && (sf.IsExported() || sf.Anonymous) {
			errs = append(errs, validate(v.Field(i))...)
		}
	}
	// An embedded struct's method is promoted: it has been asked already.
	for i := range v.NumField() {
		if v.Type().Field(i).Anonymous {
			return errs
		}
	}
	if !v.Addr().CanInterface() {
		return errs
	}
	if c, ok := reflect.TypeAssert[interface{ Validate() error }](v.Addr()); ok {
		if err := c.Validate(); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// unknown lists the variables with our prefix that no command knows, each with
// the one that was probably meant.
func (p *program) unknown() []string {
	known := make(map[string]bool)
	for _, v := range allVariables() {
		known[v.name] = true
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(p.env)) {
		if !strings.HasPrefix(name, envPrefix) || known[name] || serviceLink().MatchString(name) {
			continue
		}
		list = append(list, fmt.Sprintf("%s: there is no such variable; the nearest is %s", name, nearest(name, known)))
	}
	return list
}

// serviceLink matches what Kubernetes sets in each pod for a service whose name
// begins with millrace: nobody's mistake.
func serviceLink() *regexp.Regexp {
	return regexp.MustCompile(`^MILLRACE_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)
}

// nearest is the known name with the fewest letters to change.
func nearest(name string, known map[string]bool) string {
	best, least := "", 1<<30
	for _, k := range slices.Sorted(maps.Keys(known)) {
		if d := distance(name, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is Levenshtein's, by rows.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

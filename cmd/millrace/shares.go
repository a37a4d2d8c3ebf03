package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/millrace/millrace/model/mlflow"
	"github.com/millrace/millrace/model/remote"
	"github.com/millrace/millrace/split"
)

// sharesConfig says which versions run beside a model's own.
type sharesConfig struct {
	Split  []shareRef `env:"SPLIT" help:"Versions that take a share of a model's requests, in percent, by the hash of the key: models:/name@challenger=10. Several are separated by commas; the rest is the model's own. The model is the one of MILLRACE_MODEL with the same registered name, else the first."`
	Shadow shareRef   `env:"SHADOW" help:"Version that runs on answered requests when the worker has nothing else to do, and publishes to TOPIC_SHADOW how its answers differ: models:/name@shadow, or models:/name@shadow=5 for 5 percent of the keys."`
}

// Validate reports every mistake, each with the variable that holds it.
func (c sharesConfig) Validate() error {
	var errs []error
	for _, s := range c.Split {
		if !s.given {
			errs = append(errs, fmt.Errorf("MILLRACE_SPLIT: %s has no share: write %s=10 for 10 percent", s.reference(), s.reference()))
		}
	}
	if err := split.Check(arms(c.Split)); err != nil {
		errs = append(errs, fmt.Errorf("MILLRACE_SPLIT: %w", err))
	}
	return errors.Join(errs...)
}

// arms are the shares by the models that they name, as far as a reference tells.
func arms(refs []shareRef) []split.Arm {
	var list []split.Arm
	for _, s := range refs {
		list = append(list, split.Arm{Reference: s.reference(), Weight: s.weight, Model: s.registered()})
	}
	return list
}

// shareRef is a reference with a share of the requests.
type shareRef struct {
	modelRef
	weight split.Weight
	given  bool // the share was
}

// UnmarshalText reads "reference" or "reference=percent".
func (s *shareRef) UnmarshalText(text []byte) error {
	*s = shareRef{weight: split.Buckets}
	reference := string(text)
	if i := strings.LastIndexByte(reference, '='); i >= 0 {
		weight, err := split.ParseWeight(reference[i+1:])
		switch {
		case err == nil:
			s.weight, s.given, reference = weight, true, strings.TrimSpace(reference[:i])
		case !remote.IsRef(reference): // whose password may have the sign
			return err
		}
	}
	if err := s.modelRef.UnmarshalText([]byte(reference)); err != nil {
		return err
	}
	if s.name != "" {
		return fmt.Errorf("%q: a share has no name of its own", s.name)
	}
	return nil
}

// String is the form that it was read from.
func (s shareRef) String() string {
	if !s.given {
		return s.text
	}
	return s.text + "=" + s.weight.String()
}

// reference is the text without credentials: what series and logs show, and what
// names the experiment.
func (s shareRef) reference() string { return maskURLs(s.text) }

// registered is the name of a registered or a remote model, "" when the reference
// has none.
func (m modelRef) registered() string {
	if m.text == bundledRef {
		return ""
	}
	if ref, err := remote.ParseRef(m.text); err == nil {
		return ref.Name()
	}
	ref, err := mlflow.ParseRef(m.text)
	if err != nil {
		return ""
	}
	return ref.Name
}

// names are what requests may call a model by, without a version.
func (m modelRef) names(first bool) []string {
	var names []string
	if first {
		names = append(names, "")
	}
	if m.name != "" {
		names = append(names, m.name)
	}
	if name := m.registered(); name != "" {
		return append(names, name)
	}
	if ref, err := mlflow.ParseRef(m.text); err == nil && ref.Kind == mlflow.KindFolder && m.text != bundledRef {
		if dir, err := filepath.Abs(ref.Path); err == nil {
			return append(names, filepath.Base(dir))
		}
	}
	return names
}

// own finds the model that a share is taken of: the one with the same
// registered name, else the first.
func (c poolConfig) own(s shareRef) (index int, names []string) {
	for i, m := range c.Models {
		if name := s.registered(); name != "" && m.registered() == name {
			return i, m.names(i == 0)
		}
	}
	return 0, c.Models[0].names(true)
}

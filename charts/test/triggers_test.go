package test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// checkTriggers returns what KEDA's scalers would find wrong with the triggers of a
// ScaledObject, and with what a TriggerAuthentication gives to them.
func (s *schemas) checkTriggers(r release) error {
	var errs []error
	for _, scaled := range r.of("ScaledObject") {
		triggers, _ := scaled.at("spec", "triggers").([]any)
		if len(triggers) == 0 {
			errs = append(errs, errors.New("no trigger"))
		}
		for _, t := range triggers {
			trigger := object(t.(map[string]any))
			kind := fmt.Sprint(trigger["type"])
			given, err := s.given(r, trigger)
			if err == nil {
				err = s.checkTrigger(kind, given)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("trigger %v (%s): %w", trigger["name"], kind, err))
			}
		}
	}
	return errors.Join(errs...)
}

// given are a trigger's parameters, those of its TriggerAuthentication with a mark.
func (s *schemas) given(r release, trigger object) (map[string]string, error) {
	given := make(map[string]string)
	metadata, _ := trigger["metadata"].(map[string]any)
	for name, value := range metadata {
		given[name] = fmt.Sprint(value)
	}
	ref := trigger.at("authenticationRef", "name")
	if ref == nil || ref == "elsewhere" { // one that the chart does not make
		return given, nil
	}
	auth, ok := r.objects[fmt.Sprintf("TriggerAuthentication/%v", ref)]
	if !ok {
		return nil, fmt.Errorf("there is no TriggerAuthentication %v", ref)
	}
	for _, from := range []string{"secretTargetRef", "env"} {
		list, _ := auth.at("spec", from).([]any)
		for _, e := range list {
			given[fmt.Sprint(object(e.(map[string]any))["parameter"])] = authMark
		}
	}
	return given, nil
}

// authMark stands for a value that a TriggerAuthentication gives.
const authMark = "\x00"

func (s *schemas) checkTrigger(kind string, given map[string]string) error {
	parameters, ok := s.scalers[kind]
	if !ok {
		return errors.New("KEDA has no such scaler")
	}
	var errs []error
	for name, value := range given {
		p, ok := parameters[name]
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("unknown parameter %s", name))
		case value == authMark && !p.auth:
			errs = append(errs, fmt.Errorf("%s is not read from a TriggerAuthentication", name))
		case value != authMark && !p.metadata:
			errs = append(errs, fmt.Errorf("%s is not read from the metadata", name))
		case value != authMark && len(p.allowed) > 0:
			for v := range strings.SplitSeq(value, ",") {
				if !slices.Contains(p.allowed, v) {
					errs = append(errs, fmt.Errorf("%s: %q is none of %v", name, v, p.allowed))
				}
			}
		}
	}
	for name, p := range parameters {
		if _, ok := given[name]; p.required && !ok {
			errs = append(errs, fmt.Errorf("parameter %s is missing", name))
		}
	}
	return errors.Join(errs...)
}

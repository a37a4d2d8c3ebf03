package main

import (
	"encoding/json"
	"fmt"
	"io"
)

// spec is an entry of a signature's JSON, as far as a line shows it.
type spec struct {
	Name     string `json:"name"`
	Type     any    `json:"type"`
	Required *bool  `json:"required"`
	Default  any    `json:"default"`
	Tensor   *struct {
		DType string  `json:"dtype"`
		Shape []int64 `json:"shape"`
	} `json:"tensor-spec"`
}

// writeSpecs writes the entries of one part of a signature, a line each. What
// is not understood is written as it is.
func writeSpecs(w io.Writer, side string, text json.RawMessage) {
	if text == nil {
		return
	}
	var entries []json.RawMessage
	if err := json.Unmarshal(text, &entries); err != nil {
		_, _ = fmt.Fprintf(w, "  %s\t%s\n", side, text)
		return
	}
	for _, entry := range entries {
		var s spec
		if err := json.Unmarshal(entry, &s); err != nil {
			_, _ = fmt.Fprintf(w, "  %s\t%s\n", side, entry)
			continue
		}
		_, _ = fmt.Fprintf(w, "  %s\t%s\t%s\n", side, s.Name, s.kind(entry))
	}
}

func (s *spec) kind(entry json.RawMessage) string {
	kind, simple := s.Type.(string)
	switch {
	case s.Tensor != nil:
		kind = fmt.Sprintf("%s\t%v", s.Tensor.DType, s.Tensor.Shape)
	case !simple || kind == "object" || kind == "array" || kind == "map":
		kind = string(entry)
	}
	if s.Required != nil && !*s.Required {
		kind += " (optional)"
	}
	if s.Default != nil {
		kind += fmt.Sprintf(" (default %v)", s.Default)
	}
	return kind
}

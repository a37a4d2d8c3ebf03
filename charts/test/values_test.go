package test

import (
	"encoding/json"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// valuesTable makes the README's table of the chart's values, from values.yaml and the
// comments in it.
func valuesTable(text []byte) (string, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("| value | default | meaning |\n|---|---|---|\n")
	err := valueRows(&b, "", doc.Content[0])
	return b.String(), err
}

func valueRows(b *strings.Builder, prefix string, mapping *yaml.Node) error {
	for i := 0; i < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		path := prefix + key.Value
		nested := value.Kind == yaml.MappingNode && value.Style != yaml.FlowStyle && path != "config" && path != "podSecurityContext"
		meaning := meaningOf(key.HeadComment)
		if meaning == "" && !nested {
			return fmt.Errorf("values.yaml:%d: %s has no comment", key.Line, path)
		}
		var content any
		if err := value.Decode(&content); err != nil {
			return err
		}
		text, err := json.Marshal(content)
		if err != nil {
			return err
		}
		row := fmt.Sprintf("| `%s` | `%s` | %s |\n", path, text, meaning)
		if nested {
			row = fmt.Sprintf("| `%s` | | %s |\n", path, meaning)
		}
		if meaning != "" {
			b.WriteString(row)
		}
		if nested {
			if err := valueRows(b, path+".", value); err != nil {
				return err
			}
		}
	}
	return nil
}

// meaningOf is the last paragraph of a comment.
func meaningOf(comment string) string {
	lines := strings.Split(comment, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(strings.TrimPrefix(line, "#"))
	}
	paragraphs := strings.Split(strings.Join(lines, "\n"), "\n\n")
	last := strings.ReplaceAll(paragraphs[len(paragraphs)-1], "\n", " ")
	return strings.ReplaceAll(last, "|", `\|`)
}

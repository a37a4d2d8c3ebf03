package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestREADMEShowsRealAnswers runs the README's examples: a request, and below
// it the answer that it claims.
func TestREADMEShowsRealAnswers(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	examples := regexp.MustCompile("(?s)/predict -H 'content-type: application/json' -d '([^']*)'\n```\n\n```json\n(.*?)\n```").
		FindAllStringSubmatch(string(text), -1)
	require.Len(t, examples, 2)
	for i, example := range examples {
		got := tool(t.Context(), home(t), example[1], "model", "predict", bundledRef)
		if i == 1 {
			require.Equal(t, exitFailed, got.code)
			require.Equal(t, example[2], got.out)
			continue
		}
		require.Zero(t, got.code, got.out)
		forecast := func(body string) []float64 {
			var answer struct {
				Predictions struct{ Forecast [][]float64 }
			}
			require.NoError(t, json.Unmarshal([]byte(body), &answer), body)
			return answer.Predictions.Forecast[0]
		}
		require.InDeltaSlice(t, forecast(example[2]), forecast(got.out), 1e-3, "processors differ in the last digits")
		require.Contains(t, string(text), "<<'END'\n"+example[1]+"\nEND", "the same request over Kafka")
		require.Equal(t, 2, strings.Count(string(text), example[2]), "the same answer over Kafka")
	}
}

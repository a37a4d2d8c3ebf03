package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/millrace/millrace/bundled"
	"github.com/millrace/millrace/internal/kafka"
	"github.com/millrace/millrace/model/follow"
	"github.com/millrace/millrace/model/mlflow"
)

// scene is what `millrace up` tells when it is ready.
type scene struct {
	worker, gateway string // host:port
	rpc             string // the gateway's gRPC, "" when it has none
	brokers         []string
	topics          kafka.Topics
	models          []string
	body            string // an example of a request, "" when the model has none
}

func (s scene) String() string {
	var b strings.Builder
	brokers := strings.Join(s.brokers, ",")
	fmt.Fprintf(&b, "\nMillrace is ready.\n\n")
	fmt.Fprintf(&b, "  gateway  http://%s  POST /predict, POST /invocations, /v2, GET /readyz, GET /metrics\n", s.gateway)
	if s.rpc != "" {
		fmt.Fprintf(&b, "  gRPC     %s  inference.GRPCInferenceService\n", s.rpc)
	}
	fmt.Fprintf(&b, "  worker   http://%s  GET /readyz, GET /metrics, GET /models\n", s.worker)
	fmt.Fprintf(&b, "  kafka    %s  %s -> %s, %s\n", brokers, s.topics.Requests, s.topics.Results, s.topics.DeadLetters)
	for _, m := range s.models {
		fmt.Fprintf(&b, "  model    %s\n", m)
	}
	body := quoted(s.body)
	if s.body == "" {
		b.WriteString("\nThe model has no input example: put a request of yours in the place of BODY.\n")
		body = "BODY"
	}
	fmt.Fprintf(&b, "\nAsk over HTTP:\n\n  curl -sS http://%s/predict -H 'content-type: application/json' -d %s\n", s.gateway, body)
	fmt.Fprintf(&b, "\nAsk over Kafka, and read all results with their headers:\n\n")
	fmt.Fprintf(&b, "  printf '%%s\\n' %s | kcat -P -b %s -t %s -k example\n", body, brokers, s.topics.Requests)
	fmt.Fprintf(&b, "  kcat -C -q -b %s -t %s -o beginning -e -f '%%k %%h\\n%%s\\n'\n", brokers, s.topics.Results)
	b.WriteString("\nCtrl-C drains and ends.\n\n")
	return b.String()
}

// told is a model's line.
func told(s follow.Status) string {
	if s.Name == "" {
		return fmt.Sprintf("%s is %s: %s", maskURLs(s.Reference), s.State, s.LastError)
	}
	return fmt.Sprintf("%s version %s (%s)", s.Name, s.Version, s.Flavor)
}

// quoted makes text one word of a shell.
func quoted(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// example is the request that a model's folder carries, on one line; "" when
// it has none.
func (s *modelSource) example(ctx context.Context, reference string) (string, error) {
	if reference == bundledRef {
		return string(bundled.Examples()[0].Body()), nil
	}
	ref, err := s.parse(reference)
	if err != nil {
		return "", err
	}
	resolved, err := s.client.Resolve(ctx, ref)
	if err != nil {
		return "", err
	}
	dir, release, err := s.folder(ctx, resolved)
	if err != nil {
		return "", err
	}
	defer release()
	folder, err := mlflow.ReadFolder(dir)
	if err != nil || folder.ServingExample == "" {
		return "", err
	}
	text, err := os.ReadFile(folder.ServingExample)
	if err != nil {
		return "", err
	}
	var line bytes.Buffer
	if err := json.Compact(&line, text); err != nil {
		return "", fmt.Errorf("the model's input example: %w", err)
	}
	return line.String(), nil
}

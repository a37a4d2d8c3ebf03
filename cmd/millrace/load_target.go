package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/millrace/millrace/internal/kafka"
	"github.com/millrace/millrace/load"
)

// targetFlags say what is put under load.
type targetFlags struct {
	url         string
	model       string // over gRPC
	kafka       bool
	contentType string
	headers     []string
	watch       string
}

// loadConfig is how `millrace load --kafka` reaches the brokers.
type loadConfig struct {
	Kafka  kafka.Config `envPrefix:"MILLRACE_"`
	Topics kafka.Topics `envPrefix:"MILLRACE_"`
	Log    logConfig    `envPrefix:"MILLRACE_"`
}

func (f *targetFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.url, "url", "http://localhost:8000/predict", "where to POST to; grpc://host:port or grpcs:// is the Open Inference Protocol over gRPC")
	flags.StringVar(&f.model, "model-name", "", "`NAME` or NAME/VERSION of the model to ask for over gRPC")
	flags.BoolVar(&f.kafka, "kafka", false, "produce to the requests topic instead, by MILLRACE_KAFKA_* and MILLRACE_TOPIC_*, and read the replies")
	flags.StringVar(&f.contentType, "content-type", "application/json", "of the bodies")
	flags.StringArrayVarP(&f.headers, "header", "H", nil, "`NAME:VALUE` to send with each HTTP request; again for more")
	flags.StringVar(&f.watch, "watch", "", "`URL` of the gateway's series, for lag and workers; /metrics beside --url when empty, none for none")
}

// name is what is put under load, for people.
func (f *targetFlags) name() string {
	if f.kafka {
		return "MILLRACE_KAFKA_BROKERS"
	}
	return f.url
}

// loadTarget makes the target, and what watches it.
func (p *program) loadTarget(ctx context.Context, f *targetFlags, connections int) (load.Target, func(context.Context) (load.Sample, error), error) {
	header, err := parseHeaders(f.headers)
	if err != nil {
		return nil, nil, usageError(err)
	}
	watch := p.loadWatch(f)
	if f.kafka {
		var cfg loadConfig
		if err := p.parse(&cfg); err != nil {
			return nil, nil, err
		}
		opts, err := cfg.Kafka.Opts(p.logger(cfg.Log))
		if err != nil {
			return nil, nil, usageError(err)
		}
		bounded, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		target, err := load.NewKafka(bounded, load.KafkaConfig{
			Requests: cfg.Topics.Requests, Replies: cfg.Topics.Replies, ContentType: f.contentType, Model: header["X-Model"], Opts: opts,
		})
		return target, watch, err
	}
	if strings.HasPrefix(f.url, "grpc") {
		name, version, _ := strings.Cut(f.model, "/")
		if name == "" {
			return nil, nil, usageError(errors.New("--model-name: over gRPC the model's name is needed"))
		}
		bounded, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		target, err := load.NewGRPC(bounded, load.GRPCConfig{URL: f.url, Model: name, Version: version, Header: header, Connections: connections})
		return target, watch, err
	}
	target, err := load.NewHTTP(load.HTTPConfig{URL: f.url, ContentType: f.contentType, Header: header, Connections: connections})
	if err != nil {
		return nil, nil, usageError(err)
	}
	return target, watch, nil
}

func (p *program) loadWatch(f *targetFlags) func(context.Context) (load.Sample, error) {
	at := f.watch
	if at == "" && !f.kafka && !strings.HasPrefix(f.url, "grpc") { // whose port has no series
		if u, err := url.Parse(f.url); err == nil && u.Host != "" {
			at = (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/metrics"}).String()
		}
	}
	if at == "" || at == "none" {
		return nil
	}
	return load.WatchMetrics(&http.Client{}, at)
}

func parseHeaders(lines []string) (map[string]string, error) {
	headers := make(map[string]string, len(lines))
	for _, line := range lines {
		name, value, found := strings.Cut(line, ":")
		name = strings.TrimSpace(name)
		if !found || name == "" || strings.ContainsAny(name, " \t\r\n") || strings.ContainsAny(value, "\r\n") {
			return nil, fmt.Errorf("--header: %q is not NAME:VALUE", line)
		}
		headers[http.CanonicalHeaderKey(name)] = strings.TrimSpace(value)
	}
	return headers, nil
}

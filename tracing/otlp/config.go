// Package otlp sends spans to a collector by OpenTelemetry's protocol, over gRPC
// or HTTP, as the variables of OpenTelemetry's specification say
// (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
// and https://opentelemetry.io/docs/specs/otel/protocol/exporter/).
package otlp

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/trace"
)

// The values of OTEL_EXPORTER_OTLP_PROTOCOL that are spoken.
const (
	protocolGRPC = "grpc"
	protocolHTTP = "http/protobuf"
)

// Config is what an operator sets. Where the specification has a variable for
// traces beside one for all signals, that for traces wins.
type Config struct {
	Disabled       bool   `env:"OTEL_SDK_DISABLED" envDefault:"false" help:"Follow no request, whatever the other variables say."`
	Exporter       string `env:"OTEL_TRACES_EXPORTER" help:"Where spans go: otlp or none; empty: otlp when an endpoint is set, else none."`
	Endpoint       string `env:"OTEL_EXPORTER_OTLP_ENDPOINT" help:"URL of the collector, such as http://collector:4318; over HTTP /v1/traces is added to it. Empty: port 4317 (grpc) or 4318 of localhost."`
	TracesEndpoint string `env:"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" help:"The same for spans alone; over HTTP it is taken as it is."`
	Protocol       string `env:"OTEL_EXPORTER_OTLP_PROTOCOL" envDefault:"http/protobuf" help:"How the collector is spoken to: grpc or http/protobuf."`
	TracesProtocol string `env:"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL" help:"The same for spans alone."`
	Headers        string `env:"OTEL_EXPORTER_OTLP_HEADERS" secret:"true" help:"Headers of each export, as key=value,key=value, values percent-encoded."`
	TracesHeaders  string `env:"OTEL_EXPORTER_OTLP_TRACES_HEADERS" secret:"true" help:"The same for spans alone."`
	Compression    string `env:"OTEL_EXPORTER_OTLP_COMPRESSION" envDefault:"none" help:"none or gzip."`
	TimeoutMS      int    `env:"OTEL_EXPORTER_OTLP_TIMEOUT" envDefault:"10000" help:"Milliseconds that an export may take, tries included."`
	Insecure       bool   `env:"OTEL_EXPORTER_OTLP_INSECURE" envDefault:"false" help:"No TLS to an endpoint without http:// or https://."`
	CA             string `env:"OTEL_EXPORTER_OTLP_CERTIFICATE" help:"PEM file of the authorities to trust."`
	Cert           string `env:"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE" help:"PEM file of the client's certificate, for mutual TLS."`
	Key            string `env:"OTEL_EXPORTER_OTLP_CLIENT_KEY" help:"PEM file of its key."`
	Sampler        string `env:"OTEL_TRACES_SAMPLER" envDefault:"parentbased_always_on" help:"Which requests are followed: always_on, always_off, traceidratio, or those behind parentbased_, which do as the request's traceparent says and decide for those without one."`
	SamplerArg     string `env:"OTEL_TRACES_SAMPLER_ARG" help:"Share of the requests for traceidratio and parentbased_traceidratio, 0 to 1; empty: 1."`
	ServiceName    string `env:"OTEL_SERVICE_NAME" help:"Name of this process in traces; empty: millrace-worker, millrace-gateway, or millrace for up."`
	Attributes     string `env:"OTEL_RESOURCE_ATTRIBUTES" help:"What else is told of this process, as key=value,key=value, values percent-encoded."`
	DelayMS        int    `env:"OTEL_BSP_SCHEDULE_DELAY" envDefault:"5000" help:"Milliseconds between two exports."`
	Queue          int    `env:"OTEL_BSP_MAX_QUEUE_SIZE" envDefault:"2048" help:"Spans that wait for an export; more are dropped."`
}

// On says whether spans are to be exported.
func (c *Config) On() bool {
	switch {
	case c.Disabled || c.Exporter == "none":
		return false
	case c.Exporter == "":
		return c.Endpoint != "" || c.TracesEndpoint != ""
	}
	return true
}

// Validate names every setting that cannot be worked with. What is off is not
// looked at: the variables are there for other programs too.
func (c *Config) Validate() error {
	if c.Disabled || c.Exporter == "none" {
		return nil
	}
	var errs []error
	check := func(err error, names ...string) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", strings.Join(names, ", "), err))
		}
	}
	if c.Exporter != "" && c.Exporter != "otlp" {
		check(fmt.Errorf("%q is neither otlp nor none", c.Exporter), "OTEL_TRACES_EXPORTER")
	}
	if !c.On() {
		return errors.Join(errs...)
	}
	if p := c.protocol(); p != protocolGRPC && p != protocolHTTP {
		check(fmt.Errorf("%q is neither grpc nor http/protobuf", p), "OTEL_EXPORTER_OTLP_PROTOCOL")
	}
	_, err := c.target()
	check(err, "OTEL_EXPORTER_OTLP_ENDPOINT")
	_, err = c.sampler()
	check(err, "OTEL_TRACES_SAMPLER")
	_, err = pairs(cmp.Or(c.TracesHeaders, c.Headers))
	check(err, "OTEL_EXPORTER_OTLP_HEADERS")
	_, err = pairs(c.Attributes)
	check(err, "OTEL_RESOURCE_ATTRIBUTES")
	if c.Compression != "none" && c.Compression != "gzip" {
		check(fmt.Errorf("%q is neither none nor gzip", c.Compression), "OTEL_EXPORTER_OTLP_COMPRESSION")
	}
	if (c.Cert == "") != (c.Key == "") {
		check(errors.New("set both or neither"), "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_KEY")
	}
	for name, n := range map[string]int{"OTEL_EXPORTER_OTLP_TIMEOUT": c.TimeoutMS, "OTEL_BSP_SCHEDULE_DELAY": c.DelayMS, "OTEL_BSP_MAX_QUEUE_SIZE": c.Queue} {
		if n < 1 {
			check(errors.New("must be above 0"), name)
		}
	}
	return errors.Join(errs...)
}

func (c *Config) protocol() string { return cmp.Or(c.TracesProtocol, c.Protocol) }

// target is where spans are sent, a URL with scheme and host; over HTTP with the
// path too.
func (c *Config) target() (*url.URL, error) {
	text := cmp.Or(c.TracesEndpoint, c.Endpoint)
	if text == "" {
		text = "http://localhost:4318"
		if c.protocol() == protocolGRPC {
			text = "http://localhost:4317"
		}
	}
	if !strings.Contains(text, "://") { // what people write for gRPC
		scheme := "https://"
		if c.Insecure {
			scheme = "http://"
		}
		text = scheme + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("is no URL such as http://collector:4318") // the text may hold a password
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("is no URL such as http://collector:4318 or https://collector:4317")
	}
	if c.TracesEndpoint == "" && c.protocol() == protocolHTTP {
		u = u.JoinPath("v1", "traces")
	}
	return u, nil
}

func (c *Config) sampler() (sdk.Sampler, error) {
	name, based := strings.CutPrefix(c.Sampler, "parentbased_")
	var s sdk.Sampler
	switch name {
	case "always_on":
		s = sdk.AlwaysSample()
	case "always_off":
		s = sdk.NeverSample()
	case "traceidratio":
		share, err := strconv.ParseFloat(cmp.Or(c.SamplerArg, "1"), 64)
		if err != nil || !(share >= 0 && share <= 1) { // neither does NaN
			return nil, fmt.Errorf("OTEL_TRACES_SAMPLER_ARG: %q is no share from 0 to 1", c.SamplerArg)
		}
		s = sdk.TraceIDRatioBased(share)
	default:
		return nil, fmt.Errorf("%q is none of always_on, always_off and traceidratio, alone or behind parentbased_", c.Sampler)
	}
	if based {
		s = sdk.ParentBased(s)
	}
	return s, nil
}

func (c *Config) timeout() time.Duration { return time.Duration(c.TimeoutMS) * time.Millisecond }

// attributes describe the process that the spans are of.
func (c *Config) attributes(d Deps) []attribute.KeyValue {
	list := []attribute.KeyValue{attribute.String("service.name", d.Service), attribute.String("service.version", d.Version)}
	if d.Instance != "" {
		list = append(list, attribute.String("service.instance.id", d.Instance))
	}
	own, _ := pairs(c.Attributes) // as Validate has seen
	for key, value := range own {
		list = append(list, attribute.String(key, value)) // the last of a key wins
	}
	if c.ServiceName != "" {
		list = append(list, attribute.String("service.name", c.ServiceName))
	}
	return list
}

// pairs reads key=value,key=value as W3C's baggage has it. It does not quote
// what is wrong, which may be a secret.
func pairs(text string) (map[string]string, error) {
	all := make(map[string]string)
	for i, pair := range strings.Split(text, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if key = strings.TrimSpace(key); !ok || key == "" || err != nil {
			return nil, fmt.Errorf("its pair %d is not key=value with the value percent-encoded", i+1)
		}
		all[key] = value
	}
	return all, nil
}

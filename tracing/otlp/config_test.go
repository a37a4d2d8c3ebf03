package otlp

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func defaults() Config {
	return Config{
		Protocol: protocolHTTP, Compression: "none", TimeoutMS: 10000, Sampler: "parentbased_always_on", DelayMS: 5000, Queue: 2048,
	}
}

func TestOffUnlessAskedFor(t *testing.T) {
	for name, c := range map[string]struct {
		set func(*Config)
		on  bool
	}{
		"nothing is set":         {func(*Config) {}, false},
		"an endpoint":            {func(c *Config) { c.Endpoint = "http://c:4318" }, true},
		"an endpoint of traces":  {func(c *Config) { c.TracesEndpoint = "http://c:4318/t" }, true},
		"the exporter":           {func(c *Config) { c.Exporter = "otlp" }, true},
		"an endpoint but none":   {func(c *Config) { c.Endpoint, c.Exporter = "http://c:4318", "none" }, false},
		"an endpoint, disabled":  {func(c *Config) { c.Endpoint, c.Disabled = "http://c:4318", true }, false},
		"disabled and misspelt":  {func(c *Config) { c.Exporter, c.Disabled = "jaeger", true }, false},
		"none, and a bad sample": {func(c *Config) { c.Exporter, c.Sampler = "none", "x" }, false},
	} {
		cfg := defaults()
		c.set(&cfg)
		require.NoError(t, cfg.Validate(), name)
		require.Equal(t, c.on, cfg.On(), name)
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for want, set := range map[string]func(*Config){
		`OTEL_TRACES_EXPORTER: "jaeger" is neither`:               func(c *Config) { c.Exporter = "jaeger" },
		`OTEL_EXPORTER_OTLP_PROTOCOL: "http/json" is neither`:     func(c *Config) { c.Protocol = "http/json" },
		`OTEL_EXPORTER_OTLP_ENDPOINT: is no URL`:                  func(c *Config) { c.Endpoint = "unix:///run/c" },
		`OTEL_TRACES_SAMPLER: "half" is none of`:                  func(c *Config) { c.Sampler = "half" },
		`OTEL_TRACES_SAMPLER_ARG: "1.5" is no share`:              func(c *Config) { c.Sampler, c.SamplerArg = "traceidratio", "1.5" },
		`OTEL_TRACES_SAMPLER_ARG: "NaN" is no share`:              func(c *Config) { c.Sampler, c.SamplerArg = "traceidratio", "NaN" },
		`OTEL_EXPORTER_OTLP_HEADERS: its pair 2 is not key=value`: func(c *Config) { c.Headers = "a=b,secret" },
		`OTEL_RESOURCE_ATTRIBUTES: its pair 1 is not`:             func(c *Config) { c.Attributes = "a=%zz" },
		`OTEL_EXPORTER_OTLP_COMPRESSION: "zstd" is neither`:       func(c *Config) { c.Compression = "zstd" },
		`OTEL_EXPORTER_OTLP_CLIENT_KEY: set both or neither`:      func(c *Config) { c.Cert = "x.pem" },
		`OTEL_EXPORTER_OTLP_TIMEOUT: must be above 0`:             func(c *Config) { c.TimeoutMS = 0 },
		`OTEL_BSP_SCHEDULE_DELAY: must be above 0`:                func(c *Config) { c.DelayMS = -1 },
		`OTEL_BSP_MAX_QUEUE_SIZE: must be above 0`:                func(c *Config) { c.Queue = 0 },
	} {
		cfg := defaults()
		cfg.Exporter = "otlp"
		set(&cfg)
		err := cfg.Validate()
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestWhereSpansGo(t *testing.T) {
	for want, cfg := range map[string]Config{
		"http://localhost:4318/v1/traces": {Protocol: protocolHTTP},
		"http://localhost:4317":           {Protocol: protocolGRPC},
		"http://c:4318/v1/traces":         {Protocol: protocolHTTP, Endpoint: "http://c:4318"},
		"http://c:4318/base/v1/traces":    {Protocol: protocolHTTP, Endpoint: "http://c:4318/base/"},
		"https://c/t":                     {Protocol: protocolHTTP, Endpoint: "http://no", TracesEndpoint: "https://c/t"},
		"https://c:4317":                  {Protocol: protocolGRPC, Endpoint: "c:4317"},
		"http://c:4317":                   {Protocol: protocolHTTP, TracesProtocol: protocolGRPC, Endpoint: "c:4317", Insecure: true},
	} {
		got, err := cfg.target()
		require.NoError(t, err)
		require.Equal(t, want, got.String())
	}
}

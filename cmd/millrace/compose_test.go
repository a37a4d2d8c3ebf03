package main

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// composition is what is looked at of compose.yaml. The format:
// https://github.com/compose-spec/compose-spec/blob/main/spec.md.
type composition struct {
	Services map[string]composed
	Volumes  map[string]any
}

type composed struct {
	Image string
	Build struct {
		Context    string
		Dockerfile string
	}
	Command     []string
	Environment map[string]string
	Ports       []string
	Volumes     []string
	Profiles    []string
	Restart     string
	Grace       string `yaml:"stop_grace_period"`
	ReadOnly    bool   `yaml:"read_only"`
	Healthcheck struct{ Test []string }
	DependsOn   map[string]struct {
		Condition string
		Required  *bool
	} `yaml:"depends_on"`
}

// ours tells that a service runs Millrace's image.
func (c composed) ours() bool { return strings.HasPrefix(c.Image, "millrace:") }

// env is the environment of a service with nothing set in the shell.
func (c composed) env() map[string]string {
	env := maps.Clone(c.Environment)
	for name, value := range env {
		env[name] = regexp.MustCompile(`\$\{\w+:-([^}]*)\}`).ReplaceAllString(value, "$1")
	}
	return env
}

func readRepo(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{"..", ".."}, path...)...))
	require.NoError(t, err)
	return string(text)
}

func composeFile(t *testing.T) composition {
	t.Helper()
	var c composition
	require.NoError(t, yaml.Unmarshal([]byte(readRepo(t, "compose.yaml")), &c))
	require.NotEmpty(t, c.Services)
	return c
}

// submatch is what the expression's first group finds.
func submatch(t *testing.T, expr, text string) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)` + expr).FindStringSubmatch(text)
	require.NotNil(t, found, expr)
	return found[1]
}

func TestComposeImagesArePinned(t *testing.T) {
	for name, s := range composeFile(t).Services {
		require.Regexp(t, `^[a-z-]+(/[a-z-]+)?:\S+$`, s.Image, "%s: a short name and a version", name)
		if s.Build.Context == "" {
			require.Regexp(t, `:v?\d+\.\d+\.\d+$`, s.Image, name)
		}
	}
	services := composeFile(t).Services
	mlflow := submatch(t, `^mlflow==(\S+)$`, readRepo(t, "scripts", "mlflow-requirements.txt"))
	require.Equal(t, "millrace-mlflow:"+mlflow, services["mlflow"].Image)
	locust := submatch(t, `^locust==(\S+)$`, readRepo(t, "scripts", "locust-requirements.txt"))
	require.Equal(t, "locustio/locust:"+locust, services["locust"].Image)
	kafka := submatch(t, `kafka_2\.13</artifactId>\s*<version>([^<]+)<`, readRepo(t, "scripts", "kafka-pom.xml"))
	for _, name := range []string{"kafka", "kafka-2", "kafka-3"} {
		require.Equal(t, "apache/kafka:"+kafka, services[name].Image)
	}
}

func TestComposeMountsWhatIsThere(t *testing.T) {
	c := composeFile(t)
	used := map[string]bool{}
	for name, s := range c.Services {
		for _, v := range s.Volumes {
			source, target, ok := strings.Cut(v, ":")
			require.True(t, ok, v)
			if !strings.HasPrefix(source, ".") {
				require.Contains(t, c.Volumes, source, name)
				used[source] = true
				continue
			}
			require.True(t, strings.HasSuffix(target, ":ro"), "%s: %s is not to be written", name, v)
			_, err := os.Stat(filepath.Join("..", "..", source))
			require.NoError(t, err, v)
		}
		if s.Build.Context != "" {
			file := s.Build.Dockerfile
			if file == "" {
				file = "Dockerfile"
			}
			require.FileExists(t, filepath.Join("..", "..", s.Build.Context, file))
		}
	}
	require.Len(t, used, len(c.Volumes), "a volume that nobody mounts")
}

// Health and order: who waits for whom can be waited for.
func TestComposeStartsInOrder(t *testing.T) {
	c := composeFile(t)
	for name, s := range c.Services {
		for other, how := range s.DependsOn {
			on, ok := c.Services[other]
			require.True(t, ok, "%s waits for %s", name, other)
			switch how.Condition {
			case "service_healthy":
				require.NotEmpty(t, on.Healthcheck.Test, other)
			case "service_completed_successfully":
				require.Empty(t, on.Restart, "%s is to end", other)
			default:
				require.Fail(t, "waits for nothing", "%s for %s: %q", name, other, how.Condition)
			}
			if len(on.Profiles) > 0 && len(s.Profiles) == 0 {
				require.NotNil(t, how.Required, "%s is behind a profile", other)
				require.False(t, *how.Required, "%s is behind a profile", other)
			}
		}
		if s.Restart != "" {
			require.NotEmpty(t, s.Healthcheck.Test, "%s serves", name)
		}
		for variable := range s.Environment {
			require.NotRegexp(t, `(?i)password|secret|token|_key$`, variable, "%s: no secrets", name)
		}
	}
}

// Each service of ours is a command line and an environment that the program takes.
func TestComposeTellsOurCommandsWhatTheyKnow(t *testing.T) {
	commands := map[string]int{}
	for name, s := range composeFile(t).Services {
		if !s.ours() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			require.True(t, s.ReadOnly)
			p := &program{env: s.env()}
			cmd, args, err := p.rootCommand().Find(s.Command)
			require.NoError(t, err)
			require.NoError(t, cmd.ParseFlags(args))
			require.NotNil(t, cmd.RunE)
			require.NoError(t, cmd.Args(cmd, cmd.Flags().Args()))
			commands[s.Command[0]]++
			require.Empty(t, p.unknown())
			for _, have := range configured() {
				if have.command != s.Command[0] || s.Command[0] == "model" {
					continue
				}
				require.NoError(t, p.parse(have.config))
				read := variablesOf(have.config)
				for variable := range s.Environment {
					require.True(t, slices.ContainsFunc(read, func(v variableInfo) bool { return v.name == variable }), "%s is not read by %s", variable, have.command)
				}
				requireGrace(t, s, have.config)
			}
			if len(s.Healthcheck.Test) > 0 {
				require.Equal(t, []string{"CMD", "millrace", "ready"}, s.Healthcheck.Test[:3])
			}
		})
	}
	for _, command := range []string{"topics", "model", "worker", "gateway"} {
		require.Equal(t, 1, commands[command], command)
	}
}

// requireGrace holds that a drain is not killed half way.
func requireGrace(t *testing.T, s composed, cfg any) {
	t.Helper()
	for _, f := range fields(cfg) {
		if f.name != "MILLRACE_DRAIN_TIMEOUT" && f.name != "MILLRACE_GATEWAY_DRAIN_TIMEOUT" {
			continue
		}
		grace, err := time.ParseDuration(s.Grace)
		require.NoError(t, err)
		require.Greater(t, grace, f.value.Interface())
	}
}

// The README's section names the ports that are published, all of them, and there is
// no other.
func TestComposePortsAreTheREADMEs(t *testing.T) {
	section := submatch(t, `(?s)^## On a laptop by compose\n(.*?)\n## `, readRepo(t, "README.md"))
	told := map[string]bool{}
	for _, port := range regexp.MustCompile("`127\\.0\\.0\\.1:(\\d+)`").FindAllStringSubmatch(section, -1) {
		told[port[1]] = true
	}
	published := map[string]bool{}
	for name, s := range composeFile(t).Services {
		for _, port := range s.Ports {
			parts := strings.Split(port, ":")
			require.Len(t, parts, 3, "%s: %s", name, port)
			require.Equal(t, "127.0.0.1", parts[0], "%s is for this machine alone", name)
			require.False(t, published[parts[1]], "%s twice", port)
			published[parts[1]] = true
		}
	}
	require.Equal(t, published, told)
}

func TestComposePrometheusFindsThePools(t *testing.T) {
	var conf struct {
		Rules  []string `yaml:"rule_files"`
		Scrape []struct {
			Job    string                       `yaml:"job_name"`
			Static []struct{ Targets []string } `yaml:"static_configs"`
			DNS    []struct {
				Names []string
				Port  int
			} `yaml:"dns_sd_configs"`
		} `yaml:"scrape_configs"`
	}
	require.NoError(t, yaml.Unmarshal([]byte(readRepo(t, "compose", "prometheus.yml")), &conf))
	services := composeFile(t).Services
	rules := 0
	for _, v := range services["prometheus"].Volumes {
		if strings.Contains(v, ":"+filepath.Dir(conf.Rules[0])+"/") {
			rules++
		}
	}
	require.Equal(t, 2, rules)
	found := map[string]int{}
	for _, s := range conf.Scrape {
		require.Contains(t, s.Job, "millrace", "the alert TargetDown looks for it")
		for _, d := range s.DNS {
			found[d.Names[0]] = d.Port
		}
		for _, static := range s.Static {
			require.Equal(t, []string{"gateway:8000"}, static.Targets)
			found["gateway"] = 8000
		}
	}
	require.Equal(t, map[string]int{"worker": 8001, "gateway": 8000}, found)
	require.Contains(t, services, "worker")
}

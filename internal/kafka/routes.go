package kafka

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Route says which model the requests of a topic are for when they name none.
type Route struct{ Topic, Model string }

// UnmarshalText reads "topic=model".
func (r *Route) UnmarshalText(text []byte) error {
	var found bool
	r.Topic, r.Model, found = strings.Cut(string(text), "=")
	r.Topic, r.Model = strings.TrimSpace(r.Topic), strings.TrimSpace(r.Model)
	if !found || r.Topic == "" || r.Model == "" {
		return fmt.Errorf("%q is not topic=model", text)
	}
	return nil
}

// String is the form that it was read from.
func (r Route) String() string { return r.Topic + "=" + r.Model }

// Routes are the topics whose requests have a model of their own.
type Routes []Route

// Models is the model by topic.
func (r Routes) Models() map[string]string {
	models := make(map[string]string, len(r))
	for _, route := range r {
		models[route.Topic] = route.Model
	}
	return models
}

// With lists a topic and those of the routes, each once.
func (r Routes) With(topic string) []string {
	topics := []string{topic}
	for _, route := range r {
		if !slices.Contains(topics, route.Topic) {
			topics = append(topics, route.Topic)
		}
	}
	return topics
}

// check reports every mistake. seen has the other topics by their name in a
// broker's metrics; that of the requests may have a route too.
func (r Routes) check(requests string, seen map[string]string, legal *regexp.Regexp) (errs []error) {
	routed := make(map[string]bool)
	for _, route := range r {
		plain := strings.ReplaceAll(route.Topic, ".", "_")
		other, taken := seen[plain]
		switch {
		case !legal.MatchString(route.Topic) || route.Topic == "." || route.Topic == "..":
			errs = append(errs, fmt.Errorf(prefix+"ROUTES: %q is not a legal topic name", route.Topic))
		case taken && route.Topic != requests:
			errs = append(errs, fmt.Errorf(prefix+"ROUTES: %q collides with %s%s", route.Topic, prefix, other))
		case routed[plain]:
			errs = append(errs, fmt.Errorf(prefix+"ROUTES: %q has two routes", route.Topic))
		}
		routed[plain] = true
	}
	return errs
}

// Command health tells what GitOps tools make of Kubernetes objects: kstatus, as `helm --wait` and Flux compute it, and
// the health that Argo CD computes with the health checks of a given argocd-cm ConfigMap.
//
//	health --argocd-cm argocd-cm.yaml <objects.yaml
//
// It reads objects (YAML documents or a stream of JSON values; a List counts as its items) on stdin and writes one JSON
// line for each to stdout, in the same order.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// verdict is what one tool makes of an object.
type verdict struct {
	Status  string `json:"status"`
	Message string `json:"message,omitempty"`
}

// line is what is written for an object.
type line struct {
	Kind      string  `json:"kind"`
	Namespace string  `json:"namespace,omitempty"`
	Name      string  `json:"name"`
	Kstatus   verdict `json:"kstatus"`
	ArgoCD    verdict `json:"argocd"`
}

func main() {
	path := flag.String("argocd-cm", "", "ConfigMap with resource.customizations.health.* keys")
	flag.Parse()
	if err := run(*path, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "health:", err)
		os.Exit(1)
	}
}

func run(path string, in io.Reader, out io.Writer) error {
	scripts := map[string]string{}
	if path != "" {
		var err error
		if scripts, err = readScripts(path); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	encoder := json.NewEncoder(out)
	return eachObject(in, func(object *unstructured.Unstructured) error {
		result, err := status.Compute(object)
		if err != nil {
			return fmt.Errorf("kstatus of %s %s: %w", object.GetKind(), object.GetName(), err)
		}
		return encoder.Encode(line{
			Kind:      object.GetKind(),
			Namespace: object.GetNamespace(),
			Name:      object.GetName(),
			Kstatus:   verdict{Status: result.Status.String(), Message: result.Message},
			ArgoCD:    argoHealth(object, scripts),
		})
	})
}

// eachObject calls do with every object of a stream; a List is taken apart.
func eachObject(in io.Reader, do func(*unstructured.Unstructured) error) error {
	decoder := yaml.NewYAMLOrJSONDecoder(in, 4096)
	for {
		object := &unstructured.Unstructured{}
		switch err := decoder.Decode(object); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("not an object: %w", err)
		case len(object.Object) == 0:
			continue // an empty YAML document
		}
		if !object.IsList() {
			if err := do(object); err != nil {
				return err
			}
			continue
		}
		list, err := object.ToList()
		if err != nil {
			return fmt.Errorf("not a list: %w", err)
		}
		for i := range list.Items {
			if err := do(&list.Items[i]); err != nil {
				return err
			}
		}
	}
}

// coldpress._core: libcoldpress as the Python package's own functions see it. Arguments arrive
// checked for what Python can check (coldpress/__init__.py); here they change hands, the GIL is
// released, and a Status becomes the exception of its kind.
#include <coldpress/coldpress.h>
#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace py = pybind11;

// fp32, C-contiguous; anything else was converted before.
using Floats = py::array_t<float, py::array::c_style>;

const char* exception_name(coldpress::StatusCode code) {
  switch (code) {
    case coldpress::StatusCode::kOk:
      break;
    case coldpress::StatusCode::kInvalidArgument:
      return "InvalidArgument";
    case coldpress::StatusCode::kNotFound:
      return "NotFound";
    case coldpress::StatusCode::kCorrupt:
      return "Corrupt";
    case coldpress::StatusCode::kUnsupported:
      return "Unsupported";
    case coldpress::StatusCode::kIo:
      return "IoError";
  }
  return "Error";
}

[[noreturn]] void raise(const coldpress::Status& status) {
  const py::object type =
      py::module_::import("coldpress.errors").attr(exception_name(status.code()));
  PyErr_SetObject(type.ptr(), py::str(status.message()).ptr());
  throw py::error_already_set();
}

// The matrix's own memory, which the array frees.
template <typename T>
py::array to_numpy(coldpress::Matrix<T> matrix) {
  auto* owner = new coldpress::Matrix<T>(std::move(matrix));
  const py::capsule free(owner, [](void* p) { delete static_cast<coldpress::Matrix<T>*>(p); });
  return py::array_t<T>({owner->rows(), owner->cols()}, owner->data(), free);
}

coldpress::View2<const float> view(const Floats& array) {
  return {array.data(), array.shape(0), array.shape(1)};
}

py::dict solve(const Floats& w, const Floats& h, const coldpress::MethodOptions& options,
               int threads) {
  auto layer = [&] {
    const py::gil_scoped_release release;
    return coldpress::solve_layer(view(w), view(h), options, threads);
  }();
  if (!layer.ok()) raise(layer.status());
  py::dict result;
  result["codes"] = to_numpy(std::move(layer->codes));
  result["scales"] = to_numpy(std::move(layer->scales));
  result["zeros"] = to_numpy(std::move(layer->zeros));
  result["weight"] = to_numpy(std::move(layer->weight));
  const std::vector<float>& levels = layer->levels;
  result["levels"] =
      levels.empty()
          ? py::object(py::none())
          : py::object(py::array_t<float>(static_cast<py::ssize_t>(levels.size()), levels.data()));
  result["group"] = layer->group;
  result["error"] = layer->error;
  result["rtn_error"] = layer->rtn_error;
  result["bound"] = layer->bound;
  result["bits_per_weight"] = layer->bits_per_weight;
  result["damping"] = layer->damping;
  result["rows_from_rtn"] = layer->rows_from_rtn;
  result["fallback"] = layer->fallback;
  return result;
}

// `progress`: None, or called after every linear. What it raises, and Ctrl-C, stop the run.
std::string quantize(const std::string& model, const std::string& out,
                     coldpress::QuantizeOptions options, const py::object& progress) {
  std::optional<py::error_already_set> raised;
  options.progress = [&](const coldpress::QuantizeProgress& p) {
    const py::gil_scoped_acquire acquire;
    try {
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      if (!progress.is_none()) progress(p.done, p.total, p.tensor, p.mean_error);
      return true;
    } catch (py::error_already_set& error) {
      raised.emplace(std::move(error));
      return false;
    }
  };
  const auto manifest = [&] {
    const py::gil_scoped_release release;
    return coldpress::quantize(model, out, options);
  }();
  if (raised) throw std::move(*raised);
  if (!manifest.ok()) raise(manifest.status());
  return *manifest;
}

std::string evaluate(const std::string& model, const coldpress::EvaluateOptions& options) {
  const auto result = [&] {
    const py::gil_scoped_release release;
    return coldpress::evaluate(model, options);
  }();
  if (!result.ok()) raise(result.status());
  return *result;
}

void define_options(py::module_& m) {
  using coldpress::EvaluateOptions;
  using coldpress::MethodOptions;
  using coldpress::QuantizeOptions;
  py::class_<MethodOptions>(m, "MethodOptions")
      .def(py::init<>())
      .def_readwrite("method", &MethodOptions::method)
      .def_readwrite("bits", &MethodOptions::bits)
      .def_readwrite("group", &MethodOptions::group)
      .def_readwrite("effort", &MethodOptions::effort)
      .def_readwrite("init", &MethodOptions::init)
      .def_readwrite("refit", &MethodOptions::refit)
      .def_readwrite("outliers", &MethodOptions::outliers)
      .def_readwrite("outlier_mode", &MethodOptions::outlier_mode)
      .def_readwrite("grid", &MethodOptions::grid)
      .def_readwrite("clip", &MethodOptions::clip)
      .def_readwrite("scale_type", &MethodOptions::scale_type)
      .def_readwrite("symmetric", &MethodOptions::symmetric);
  py::class_<QuantizeOptions>(m, "QuantizeOptions")
      .def(py::init<>())
      .def_readwrite("method", &QuantizeOptions::method)
      .def_readwrite("preset", &QuantizeOptions::preset)
      .def_readwrite("recipe", &QuantizeOptions::recipe)
      .def_readwrite("calibration", &QuantizeOptions::calibration)
      .def_readwrite("samples", &QuantizeOptions::samples)
      .def_readwrite("seqlen", &QuantizeOptions::seqlen)
      .def_readwrite("seed", &QuantizeOptions::seed)
      .def_readwrite("imatrix", &QuantizeOptions::imatrix)
      .def_readwrite("dense_type", &QuantizeOptions::dense_type)
      .def_readwrite("split_bytes", &QuantizeOptions::split_bytes)
      .def_readwrite("shard_bytes", &QuantizeOptions::shard_bytes)
      .def_readwrite("max_ram", &QuantizeOptions::max_ram)
      .def_readwrite("work_dir", &QuantizeOptions::work_dir)
      .def_readwrite("format", &QuantizeOptions::format)
      .def_readwrite("quantize_head", &QuantizeOptions::quantize_head)
      .def_readwrite("target", &QuantizeOptions::target)
      .def_readwrite("tensor_parallel", &QuantizeOptions::tensor_parallel)
      .def_readwrite("propagate", &QuantizeOptions::propagate)
      .def_readwrite("shrinkage", &QuantizeOptions::shrinkage)
      .def_readwrite("tokenizer_pre", &QuantizeOptions::tokenizer_pre)
      .def_readwrite("type", &QuantizeOptions::type)
      .def_readwrite("pure", &QuantizeOptions::pure)
      .def_readwrite("tensor_types", &QuantizeOptions::tensor_types)
      .def_readwrite("output_tensor_type", &QuantizeOptions::output_tensor_type)
      .def_readwrite("token_embedding_type", &QuantizeOptions::token_embedding_type)
      .def_readwrite("allow_fallback", &QuantizeOptions::allow_fallback)
      .def_readwrite("threads", &QuantizeOptions::threads);
  py::class_<EvaluateOptions>(m, "EvaluateOptions")
      .def(py::init<>())
      .def_readwrite("text", &EvaluateOptions::text)
      .def_readwrite("protocol", &EvaluateOptions::protocol)
      .def_readwrite("windows", &EvaluateOptions::windows)
      .def_readwrite("reference", &EvaluateOptions::reference)
      .def_readwrite("tokenizer_pre", &EvaluateOptions::tokenizer_pre)
      .def_readwrite("threads", &EvaluateOptions::threads);
}

}  // namespace

PYBIND11_MODULE(_core, m) {
  m.doc() = "libcoldpress, for the functions of the package coldpress";
  m.attr("version") = coldpress::version();
  define_options(m);
  m.def("solve", &solve, py::arg("w"), py::arg("h"), py::arg("options"), py::arg("threads"));
  m.def("quantize", &quantize, py::arg("model"), py::arg("out"), py::arg("options"),
        py::arg("progress"));
  m.def("evaluate", &evaluate, py::arg("model"), py::arg("options"));
}

#include "pipeline/quantize_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/peak_memory.h"
#include "calibration/imatrix_grams.h"
#include "calibration/sources.h"
#include "export/export.h"
#include "export/recover.h"
#include "export/table.h"
#include "io/file.h"
#include "io/json.h"
#include "io/spill.h"
#include "linalg/blas.h"
#include "pipeline/conversion_manifest.h"
#include "pipeline/disk_space.h"
#include "pipeline/manifest.h"
#include "pipeline/memory_plan.h"
#include "pipeline/ranks.h"
#include "report/record.h"
#include "tokenizer/tokenizer.h"

namespace coldpress {
namespace {

// What a run is calibrated on: windows of text, or a file of diagonals.
struct Calibration {
  CalibrationWindows windows;
  std::optional<Imatrix> imatrix;
};

Result<ExportRequest> export_request(const QuantizeJob& job, const Model& model, const Plan& plan) {
  ExportRequest request{model, job.out, job.recipe.dense_type, {}, job.version, job.tokenizer_pre};
  request.split_bytes = job.split_bytes;
  request.shard_bytes = job.shard_bytes;
  request.code_format = job.recipe.code_format;
  request.grid = job.recipe.grid;
  for (const PlannedTensor& tensor : plan.tensors) {
    if (tensor.action == TensorAction::kQuantise) request.quantised.push_back(tensor.name);
    if (tensor.ggml_type >= 0) request.block_types[tensor.name] = tensor.ggml_type;
  }
  if (!job.recipe.types.mix.empty()) {
    COLDPRESS_ASSIGN_OR_RETURN(const Mix mix, find_mix(job.recipe.types.mix));
    request.gguf_file_type = mix.file_type;
  }
  return request;
}

// Where what does not fit below the ceiling goes; nothing if all fits.
Result<std::optional<SpillFolder>> open_spill(const QuantizeJob& job, const MemoryPlan& memory) {
  if (memory.spilled_kinds == 0) return std::optional<SpillFolder>();
  std::filesystem::path folder = job.work_dir;
  if (folder.empty()) folder = std::filesystem::path(job.out).parent_path();
  if (folder.empty()) folder = ".";
  COLDPRESS_ASSIGN_OR_RETURN(SpillFolder spill,
                             SpillFolder::open(folder, static_cast<uint64_t>(memory.spilled_peak)));
  return std::optional<SpillFolder>(std::move(spill));
}

Result<RunReport> press_model(const QuantizeJob& job, const Model& model, const Plan& plan,
                              const Calibration& calibration, const DriverHooks& hooks,
                              ThreadPool& pool, const RunMemory& memory) {
  if (!calibration.imatrix) {
    return run_plan(model, plan, calibration.windows, hooks, pool, memory, job.comm);
  }
  COLDPRESS_ASSIGN_OR_RETURN(ImatrixGrams grams,
                             ImatrixGrams::create(model, *calibration.imatrix, job.imatrix));
  return run_plan(model, plan, grams, hooks, pool, memory, job.comm);
}

// Of all that the plan says of the model and of what happens to it.
std::string plan_hash(const Plan& plan) {
  Json json = plan_to_json(plan);
  for (const char* key : {"predicted_peak_bytes", "memory"}) json.erase(key);  // of this machine
  return "of hash " + xxh3_128_hex(json.dump());
}

// In place of what a manifest says of calibration windows.
Json imatrix_json(const Imatrix& imatrix, const std::string& name) {
  return {{"imatrix", name},
          {"datasets", imatrix.datasets},
          {"entries", imatrix.entries.size()},
          {"windows", imatrix.chunks},
          {"tokens", imatrix.chunks * imatrix.chunk_size}};
}

}  // namespace

Result<std::unique_ptr<TransformedModel>> open_transformed(const Model& source,
                                                           const Recipe& recipe) {
  return TransformedModel::create(source, recipe.transform, recipe.dense_type);
}

Result<CalibrationWindows> read_windows(const std::string& model, const std::string& tokenizer_pre,
                                        const Recipe& recipe, const FindText& find_text) {
  COLDPRESS_ASSIGN_OR_RETURN(const std::vector<CalibrationSource> sources,
                             parse_calibration_sources(recipe.calibration, find_text));
  COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                             Tokenizer::open(model, tokenizer_pre));
  const CalibrationRequest request = {recipe.samples, recipe.seqlen, recipe.calibration_seed};
  return read_calibration(sources, request, *tokenizer);
}

Result<std::optional<Imatrix>> read_imatrix_for(const Model& model, const std::string& path,
                                                Recipe* recipe) {
  if (path.empty()) return std::optional<Imatrix>();
  if (!recipe->transform.empty()) {
    return invalid_argument(
        "--imatrix knows inputs only as they are in the source; transforms and low-bit activations "
        "need a text, by --calibration");
  }
  COLDPRESS_ASSIGN_OR_RETURN(Imatrix imatrix, read_imatrix(path));
  COLDPRESS_RETURN_IF_ERROR(ImatrixGrams::create(model, imatrix, path).status());
  recipe->propagate = false;  // no inputs, so no distance between them
  recipe->samples = std::max<int64_t>(1, imatrix.chunks);
  recipe->seqlen = std::max<int64_t>(2, imatrix.chunk_size);
  if (const int64_t context = model.config().context; context > 0) {
    recipe->seqlen = std::min(recipe->seqlen, context);
  }
  return std::optional<Imatrix>(std::move(imatrix));
}

void settle_code_types(const Model& model, const GivenTypes& given, Recipe* recipe) {
  if (recipe->code_format.empty()) return;
  if (!given.dense) {
    const Result<const ExportFormat*> format = find_code_format(recipe->code_format);
    const bool as_source =
        format.ok() && !(*format)->codes->keeps_f16 && natural_dense_type(model) == DType::kBF16;
    recipe->dense_type = as_source ? DType::kBF16 : DType::kF16;
  }
  if (!given.scale) recipe->grid.scale_type = recipe->dense_type;
}

namespace {

// All that decides the bytes of the output.
Result<Fingerprint> fingerprint_of(const QuantizeJob& job, const Model& model,
                                   const Calibration& calibration) {
  Fingerprint fingerprint;
  fingerprint.add("coldpress version", job.version);
  fingerprint.add_json("recipe", recipe_to_json(job.recipe));
  fingerprint.add("--tokenizer-pre", job.tokenizer_pre);
  fingerprint.add("--split-max-size", std::to_string(job.split_bytes));
  fingerprint.add("--shard-size", std::to_string(job.shard_bytes));
  if (calibration.imatrix) {
    COLDPRESS_ASSIGN_OR_RETURN(std::string hash, hash_file(job.imatrix));
    fingerprint.add("imatrix", std::move(hash));
  } else {
    fingerprint.add_windows(calibration.windows);
  }
  COLDPRESS_RETURN_IF_ERROR(fingerprint.add_model(model, job.out));
  return fingerprint;
}

// From the opened model to the complete output. `work` may be null; it and `sink` are rank 0's, as
// is the manifest.
Result<Json> press_and_write(const QuantizeJob& job, TransformedModel& model, const Plan& plan,
                             const Calibration& calibration, WorkFolder* work, ExportSink* sink,
                             double start, Comm& comm) {
  const bool is_first = comm.rank() == 0;
  std::optional<AnonymousPeak> anonymous;
  if (job.max_ram > 0) {
    keep_heap_small();
    anonymous.emplace();
  }
  COLDPRESS_ASSIGN_OR_RETURN(const std::optional<SpillFolder> spill, open_spill(job, plan.memory));
  const RunMemory memory = run_memory(plan.memory, spill ? *spill : main_memory());
  ThreadPool pool(job.threads);
  COLDPRESS_RETURN_IF_ERROR(model.learn(calibration.windows, pool));
  bool is_stopped = false;
  const auto stopped = [&job] { return io_error("stopped before " + job.out + " was complete"); };
  DriverHooks hooks;
  hooks.work = work;
  hooks.put = [&](const std::string& name, const PressedTensor& tensor) {
    if (is_stopped) return stopped();
    return is_first ? sink->put(name, tensor) : Status();
  };
  hooks.replace = [&model](const std::string& name, MatrixF values) {
    model.replace(name, std::move(values));
  };
  if (job.progress && is_first) {
    hooks.progress = [&](const Progress& p) { is_stopped = is_stopped || !job.progress(p); };
  }
  COLDPRESS_ASSIGN_OR_RETURN(const RunReport report,
                             press_model(job, model, plan, calibration, hooks, pool, memory));
  if (is_stopped) return stopped();
  COLDPRESS_ASSIGN_OR_RETURN(Json ranks, gather_traffic(comm));
  if (!is_first) {
    COLDPRESS_RETURN_IF_ERROR(comm.barrier());
    return Json::object();
  }

  const double seconds = seconds_now() - start;
  Json manifest = make_manifest(
      model, plan, calibration.windows, report,
      {job.version, job.threads, peak_rss_bytes(), seconds, anonymous ? anonymous->bytes() : 0});
  if (comm.size() > 1) manifest["ranks"] = std::move(ranks);
  if (calibration.imatrix) {
    manifest["calibration"] = imatrix_json(*calibration.imatrix, job.imatrix);
    manifest["flops"]["forward"] = manifest["flops"]["gram"] = 0;
  }
  record_output(sink->tensors(), &manifest);
  const std::string full = manifest.dump(2);
  if (work != nullptr) COLDPRESS_RETURN_IF_ERROR(work->journal().add_manifest(full));
  COLDPRESS_RETURN_IF_ERROR(sink->finish({full, reproducible_part(manifest).dump()}));
  COLDPRESS_RETURN_IF_ERROR(comm.barrier());  // the others end well only now
  return manifest;
}

// What rank 0 alone has: the output, and the work that an earlier process of the same run left.
struct FirstRank {
  std::unique_ptr<WorkFolder> work;  // null: nothing is kept
  std::unique_ptr<ExportSink> sink;
  std::optional<Json> finished;  // the manifest, where all that was missing were names
};

// Reads the texts, too.
Result<FirstRank> open_first_rank(const QuantizeJob& job, const Model& source, const Model& model,
                                  const Plan& plan, Calibration* calibration) {
  FirstRank first;
  std::unique_ptr<WorkFolder>& work = first.work;
  if (job.work) {
    COLDPRESS_ASSIGN_OR_RETURN(work, WorkFolder::claim(job.out, *job.work));
    remove_leftovers(job.out);
    const int streams = calibration->imatrix ? 0 : (job.recipe.propagate ? 2 : 1);
    COLDPRESS_RETURN_IF_ERROR(
        check_disk_space(job.out, disk_needs(model, plan, streams), work->bytes()));
  }
  COLDPRESS_ASSIGN_OR_RETURN(const ExportRequest request, export_request(job, model, plan));
  // The process that wrote it may have ended between its last step and the removal of its work.
  const std::string finished = work ? work->manifest() : "";
  const bool is_finished = !finished.empty() && recover_output(job.out, finished);
  if (!is_finished) {
    COLDPRESS_ASSIGN_OR_RETURN(first.sink, open_export(request));
  }
  if (!calibration->imatrix) {
    COLDPRESS_ASSIGN_OR_RETURN(calibration->windows, read_windows(job.model, job.tokenizer_pre,
                                                                  job.recipe, job.find_text));
  }
  if (work) {
    COLDPRESS_ASSIGN_OR_RETURN(const Fingerprint fingerprint,
                               fingerprint_of(job, source, *calibration));
    COLDPRESS_RETURN_IF_ERROR(work->begin(fingerprint));
    if (is_finished) {
      work->remove();
      COLDPRESS_ASSIGN_OR_RETURN(first.finished, parse_json(finished, work->path().string()));
      return first;
    }
    if (work->has_work() && job.notice) {
      job.notice(fmt::format("goes on after {} linears that {} has solved",
                             work->journal().solved(), work->path().string()));
    }
  }
  return first;
}

Result<Json> quantize_as_rank(QuantizeJob job, Comm& comm) {
  const double start = seconds_now();
  COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<Model> source, Model::open(job.model));
  settle_code_types(*source, job.given, &job.recipe);
  COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<TransformedModel> model,
                             open_transformed(*source, job.recipe));
  Calibration calibration;
  COLDPRESS_ASSIGN_OR_RETURN(calibration.imatrix,
                             read_imatrix_for(*model, job.imatrix, &job.recipe));
  COLDPRESS_ASSIGN_OR_RETURN(const Plan plan,
                             make_plan(*model, job.recipe, job.threads, job.max_ram));
  COLDPRESS_RETURN_IF_ERROR(check_target(*model, plan, job.target, job.out));
  COLDPRESS_RETURN_IF_ERROR(check_same_run(
      {{"version", job.version}, {"plan", plan_hash(plan)}, {"BLAS kernel", blas_kernels()}},
      comm));
  FirstRank first;
  if (comm.rank() == 0) {
    COLDPRESS_ASSIGN_OR_RETURN(first, open_first_rank(job, *source, *model, plan, &calibration));
  }
  COLDPRESS_ASSIGN_OR_RETURN(const int64_t goes_on, comm.least(first.finished ? 0 : 1));
  if (goes_on == 0) return first.finished ? std::move(*first.finished) : Json::object();
  COLDPRESS_RETURN_IF_ERROR(share_windows(&calibration.windows, comm));
  trim_heap();  // of the tokenizer's
  WorkFolder* const work = first.work.get();
  auto manifest =
      press_and_write(job, *model, plan, calibration, work, first.sink.get(), start, comm);
  if (work == nullptr) return manifest;
  if (manifest.ok()) {
    remove_leftovers(job.out);  // of a killed process that was still ending when this one began
    if (!work->remove() && job.notice) {
      job.notice(
          fmt::format("{} could not be removed; nothing needs it any more", work->path().string()));
    }
  } else if (work->has_work()) {
    return Status(manifest.status().code(),
                  fmt::format("{}; the same command goes on from here ({})",
                              manifest.status().message(), work->path().string()));
  }
  return manifest;
}

}  // namespace

Result<Json> quantize_model(QuantizeJob job) {
  LocalComm alone;
  Comm& comm = job.comm != nullptr ? *job.comm : alone;
  Status failure;
  try {
    Result<Json> manifest = quantize_as_rank(std::move(job), comm);
    if (manifest.ok()) return manifest;
    failure = manifest.status();
  } catch (const std::bad_alloc&) {  // an error of the machine, which other ranks must hear of
    if (comm.size() == 1) throw;
    failure = io_error("out of memory; use fewer samples or machines with more memory");
  }
  comm.fail(failure);
  return failure;
}

}  // namespace coldpress

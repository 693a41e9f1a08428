#include "pipeline/run_journal.h"

#include <cstring>
#include <span>

#include "io/byte_stream.h"

namespace coldpress {
namespace {

// The first byte of a record.
enum class Kind : uint8_t { kFingerprint = 1, kLinear = 2, kScales = 3, kManifest = 4 };

ByteWriter record_of(Kind kind) {
  ByteWriter out;
  out.put(static_cast<uint8_t>(kind));
  return out;
}

// What a file holds, read in order.
struct Contents {
  std::optional<std::string> fingerprint;
  std::map<std::pair<std::string, int>, Journal::Record> linears;
  std::map<ScaledPlace, std::vector<float>> scales;
  std::string manifest;
  bool is_strange = false;  // a record that is none of ours

  void take(const Journal::Record& record, std::span<const std::byte> payload) {
    ByteReader in(payload);
    const auto kind = static_cast<Kind>(in.take<uint8_t>());
    if (fingerprint.has_value() == (kind == Kind::kFingerprint)) {
      is_strange = true;
      return;
    }
    switch (kind) {
      case Kind::kFingerprint:
        fingerprint = in.take_text();
        break;
      case Kind::kLinear: {
        std::string tensor = in.take_text();
        const auto expert = in.take<int32_t>();
        linears[{std::move(tensor), expert}] = record;
        break;
      }
      case Kind::kScales: {
        const ScaledPlace place{in.take<int32_t>(), in.take<int32_t>(), in.take<int32_t>()};
        const MatrixF values = in.take_matrix<float>();
        scales[place].assign(values.data(), values.data() + values.size());
        break;
      }
      case Kind::kManifest:
        manifest = in.take_text();
        break;
      default:
        is_strange = true;
    }
    is_strange = is_strange || !in.ok();
  }
};

}  // namespace

RunJournal::RunJournal(Journal journal) : journal_(std::move(journal)) {}

std::string RunJournal::how_to_drop() const {
  return "delete " + journal_.path().parent_path().string() + " or use --restart";
}

Result<RunJournal> RunJournal::open(const std::filesystem::path& path) {
  Contents contents;
  COLDPRESS_ASSIGN_OR_RETURN(
      Journal file,
      Journal::open(path, [&](const Journal::Record& record, std::span<const std::byte> payload) {
        contents.take(record, payload);
      }));
  RunJournal journal(std::move(file));
  if (contents.is_strange) {
    return corrupt(path.string() + " is not what this program writes; " + journal.how_to_drop());
  }
  journal.fingerprint_ = std::move(contents.fingerprint);
  journal.linears_ = std::move(contents.linears);
  journal.scales_ = std::move(contents.scales);
  journal.manifest_ = std::move(contents.manifest);
  return journal;
}

Status RunJournal::begin(const Fingerprint& fingerprint) {
  if (!fingerprint_) {
    fingerprint_ = fingerprint.text();
    ByteWriter out = record_of(Kind::kFingerprint);
    out.put_text(*fingerprint_);
    COLDPRESS_RETURN_IF_ERROR(journal_.append(out.bytes()).status());
    return journal_.flush();
  }
  COLDPRESS_ASSIGN_OR_RETURN(const Fingerprint old,
                             Fingerprint::parse(*fingerprint_, journal_.path().string()));
  const std::string difference = old.difference(fingerprint);
  if (difference.empty()) return {};
  return invalid_argument(journal_.path().parent_path().string() +
                          " holds the work of another run: " + difference + "; " + how_to_drop());
}

KnownWork RunJournal::known() const {
  KnownWork known;
  for (const auto& [linear, record] : linears_) known.linears.insert(linear);
  known.scales = scales_;
  return known;
}

Result<SolvedLinear> RunJournal::read(const std::string& tensor, int expert, const GridKind& kind,
                                      int64_t rows, int64_t cols) const {
  COLDPRESS_ASSIGN_OR_RETURN(const std::vector<std::byte> payload,
                             journal_.read(linears_.at({tensor, expert})));
  ByteReader in(payload);
  in.take<uint8_t>();
  in.take_text();
  in.take<int32_t>();
  const std::string where = journal_.path().string() + ", " + tensor;
  auto linear = take_solved(&in, kind, where);
  if (!linear.ok()) return corrupt(linear.status().message() + "; " + how_to_drop());
  if (linear->solution.codes.rows() != rows || linear->solution.codes.cols() != cols) {
    return corrupt(where + ": this is a matrix of another size; " + how_to_drop());
  }
  return linear;
}

Status RunJournal::add(const std::string& tensor, int expert, const SolvedLinear& linear) {
  ByteWriter out = record_of(Kind::kLinear);
  out.put_text(tensor);
  out.put(static_cast<int32_t>(expert));
  put_solved(linear, &out);
  COLDPRESS_ASSIGN_OR_RETURN(const Journal::Record record, journal_.append(out.bytes()));
  linears_[{tensor, expert}] = record;
  has_unflushed_ = true;
  return {};
}

std::optional<std::vector<float>> RunJournal::scales(const ScaledPlace& place) const {
  const auto at = scales_.find(place);
  return at == scales_.end() ? std::nullopt : std::optional(at->second);
}

Status RunJournal::add_scales(const ScaledPlace& place, const std::vector<float>& scales) {
  ByteWriter out = record_of(Kind::kScales);
  for (const int number : {place.block, place.stage, place.step}) {
    out.put(static_cast<int32_t>(number));
  }
  out.put(int64_t{1});
  out.put(static_cast<int64_t>(scales.size()));
  out.put_bytes(std::as_bytes(std::span(scales)));
  has_unflushed_ = true;
  return journal_.append(out.bytes()).status();
}

Status RunJournal::add_manifest(const std::string& manifest) {
  ByteWriter out = record_of(Kind::kManifest);
  out.put_text(manifest);
  COLDPRESS_RETURN_IF_ERROR(journal_.append(out.bytes()).status());
  manifest_ = manifest;
  return journal_.flush();
}

Status RunJournal::flush() {
  if (!has_unflushed_) return {};
  has_unflushed_ = false;
  return journal_.flush();
}

}  // namespace coldpress

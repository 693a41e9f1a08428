// Every coldpress command in the documentation and in --help is run as written, in a folder that
// holds the files they name. A renamed option or a changed default path fails here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "tests/cli/command.h"
#include "tests/cli/tiny_model.h"

namespace coldpress::test {
namespace {

namespace fs = std::filesystem;

// Lines that start with "coldpress " inside ```bash blocks.
std::vector<std::string> commands_of_document(const std::string& text) {
  std::vector<std::string> commands;
  std::istringstream lines(text);
  std::string line;
  bool in_block = false;
  while (std::getline(lines, line)) {
    if (line.starts_with("```")) in_block = line == "```bash";
    if (in_block && line.starts_with("coldpress ")) commands.push_back(line);
  }
  return commands;
}

// The examples at the head of a verb's help.
std::vector<std::string> commands_of_help(const std::string& help) {
  std::vector<std::string> commands;
  std::istringstream lines(help);
  std::string line;
  while (std::getline(lines, line) && !line.empty()) {
    if (line.starts_with("  coldpress ")) commands.push_back(line.substr(2));
  }
  return commands;
}

std::vector<std::string> words_of(const std::string& command) {
  std::istringstream stream(command.substr(0, command.find(" #")));
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  words.erase(words.begin());  // "coldpress"
  return words;
}

class Documentation : public testing::Test {
 protected:
  void SetUp() override {
    before_ = fs::current_path();
    fs::current_path(folder_.path());
    write_tiny_model("Llama-3.2-1B");
    write_tiny_text("my-text.txt");
    write_tiny_problems("problems.safetensors");
    std::string lines;
    for (int i = 0; i < 200; ++i) lines += "{\"text\": \"the cold press makes oil\"}\n";
    write_file(fs::path("more.jsonl"), lines);
    // Fetched files are recognised by their size.
    pretend_fetched("texts/c4.txt", 1338229);
    pretend_fetched("texts/wiki.txt", 2093275);
    pretend_fetched("models/smollm2-135m-instruct.gguf", 98362432);
    const CommandResult gguf =
        run({"quantize", "Llama-3.2-1B", "--bits", "8", "--method", "rtn", "--calibration",
             "my-text.txt", "--samples", "1", "--seqlen", "64", "-o", "model.gguf"});
    ASSERT_EQ(gguf.exit_code, 0) << gguf.err;
    const CommandResult imatrix = run({"imatrix", "model.gguf", "--calibration", "my-text.txt",
                                       "--samples", "2", "--seqlen", "64", "-o", "imatrix.gguf"});
    ASSERT_EQ(imatrix.exit_code, 0) << imatrix.err;
  }
  void TearDown() override { fs::current_path(before_); }

  CommandResult run(const std::vector<std::string>& words) {
    return run_coldpress(words, {.environment = {{"XDG_CACHE_HOME", folder_ / "cache"}}});
  }
  void run_all(const std::vector<std::string>& commands) {
    for (const std::string& command : commands) {
      const CommandResult result = run(words_of(command));
      EXPECT_EQ(result.exit_code, 0) << command << "\n" << result.err;
    }
  }

 private:
  // Readable text of the given size.
  void pretend_fetched(const std::string& name, uint64_t bytes) {
    const fs::path path = folder_ / "cache/coldpress" / name;
    write_tiny_text(path);
    std::string text = slurp(path);
    while (text.size() < bytes) text += text;
    text.resize(bytes);
    write_file(path, text);
  }
  TempFolder folder_;
  fs::path before_;
};

TEST_F(Documentation, CommandsOfTheDocumentsRun) {
  const fs::path root = COLDPRESS_SOURCE_DIR;
  std::vector<fs::path> documents = {root / "README.md", root / "ARCHITECTURE.md",
                                     root / "CONTRIBUTING.md"};
  for (const auto& entry : fs::directory_iterator(root / "docs")) {
    if (entry.path().extension() == ".md") documents.push_back(entry.path());
  }
  size_t count = 0;
  for (const fs::path& document : documents) {
    const std::vector<std::string> commands = commands_of_document(slurp(document));
    count += commands.size();
    SCOPED_TRACE(document);
    run_all(commands);
  }
  EXPECT_GE(count, 8u);
}

TEST_F(Documentation, ExamplesOfTheHelpRun) {
  for (const char* verb :
       {"bench", "convert", "eval", "fetch", "imatrix", "inspect", "plan", "quantize"}) {
    const std::vector<std::string> commands = commands_of_help(run_coldpress({verb, "--help"}).out);
    SCOPED_TRACE(verb);
    EXPECT_GE(commands.size(), 2u);
    run_all(commands);
  }
}

}  // namespace
}  // namespace coldpress::test
